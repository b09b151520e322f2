package api

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/earshot/earshot/directory"
	"github.com/earshot/earshot/query"
)

type subscriptionTarget struct {
	Kind string  `json:"kind" enum:"company,office,department,contact_center,user" doc:"Whose events"`
	ID   *string `json:"id,omitempty" nullable:"true" maxLength:"64" doc:"Of the office, department, contact center or user; null or absent for the company"`
}

func (t *subscriptionTarget) of() directory.Target {
	if t == nil {
		return directory.Target{Kind: directory.KindCompany}
	}
	out := directory.Target{Kind: t.Kind}
	if t.ID != nil {
		out.ID = *t.ID
	}
	return out
}

type subscriptionAnswerTarget struct {
	Kind string  `json:"kind" enum:"company,office,department,contact_center,user"`
	ID   *string `json:"id" doc:"null for the company"`
}

type subscription struct {
	ID                  string                   `json:"id"`
	URL                 string                   `json:"url"`
	Target              subscriptionAnswerTarget `json:"target"`
	Types               []string                 `json:"types" doc:"Types of events; * alone is all of them"`
	Enabled             bool                     `json:"enabled"`
	DisabledReason      string                   `json:"disabled_reason" doc:"Why it is not enabled; empty while it is"`
	Description         string                   `json:"description"`
	State               string                   `json:"state" enum:"ok,failing,disabled" doc:"failing: the last attempt was not answered with 2xx"`
	LastSuccessAt       query.Time               `json:"last_success_at" doc:"null: there was none yet"`
	FailingSince        query.Time               `json:"failing_since" doc:"null: it does not fail"`
	LastError           string                   `json:"last_error" doc:"Of the last attempt, where that failed"`
	Pending             int64                    `json:"pending" doc:"Deliveries that are still to be made"`
	PreviousSecretUntil query.Time               `json:"previous_secret_until" doc:"Until then the secret before signs too; null: only one does"`
	CreatedAt           query.Time               `json:"created_at"`
	UpdatedAt           query.Time               `json:"updated_at"`
}

type subscriptionWithSecret struct {
	subscription
	Secret string `json:"secret" doc:"What events are signed with, as Standard Webhooks has it: whsec_ and base64; shown this once"`
}

func (s *server) subscriptionOf(d directory.Subscription) subscription {
	out := subscription{
		ID: d.ID, URL: d.URL, Target: subscriptionAnswerTarget{Kind: d.Target.Kind}, Types: d.Types, Enabled: d.Enabled, DisabledReason: d.DisabledReason, Description: d.Description,
		State: d.State(), LastSuccessAt: at(d.LastSuccess), FailingSince: at(d.FailingSince), LastError: d.LastError, Pending: d.Pending,
		CreatedAt: at(d.CreatedAt), UpdatedAt: at(d.UpdatedAt),
	}
	if d.Target.ID != "" {
		out.Target.ID = &d.Target.ID
	}
	if d.OldSecretUntil.After(s.now()) {
		out.PreviousSecretUntil = at(d.OldSecretUntil)
	}
	return out
}

func (s *server) secretOf(d directory.Subscription) *bodyOutput[subscriptionWithSecret] {
	return &bodyOutput[subscriptionWithSecret]{Body: subscriptionWithSecret{s.subscriptionOf(d), d.Secret}}
}

type delivery struct {
	ID            string            `json:"id"`
	EventID       string            `json:"event_id" doc:"webhook-id of every attempt; the same event has the same"`
	Type          string            `json:"type"`
	Call          *string           `json:"call" doc:"null where the event is of no call"`
	State         string            `json:"state" enum:"pending,delivered,dead" doc:"dead: given up; redeliver sends it again"`
	AttemptCount  int64             `json:"attempt_count"`
	Attempts      []deliveryAttempt `json:"attempts" doc:"The last 20, the oldest first"`
	NextAttemptAt query.Time        `json:"next_attempt_at" doc:"null where there is none to come, or an earlier event of the call is pending"`
	CreatedAt     query.Time        `json:"created_at"`
	DeliveredAt   query.Time        `json:"delivered_at"`
}

type deliveryAttempt struct {
	At     query.Time `json:"at"`
	Status *int       `json:"status" doc:"HTTP status; null: there was no answer"`
	Error  string     `json:"error" doc:"Why it does not count as delivered; empty where it does"`
	TookMS int64      `json:"took_ms"`
}

func deliveryOf(d directory.Delivery) delivery {
	out := delivery{
		ID: strconv.FormatInt(d.Seq, 10), EventID: d.EventID, Type: d.Type, State: d.State, AttemptCount: d.AttemptCount, Attempts: []deliveryAttempt{},
		NextAttemptAt: at(d.NextAttempt), CreatedAt: at(d.CreatedAt), DeliveredAt: at(d.DeliveredAt),
	}
	// What is to be sent at once was due before it was stored.
	if d.State == directory.DeliveryPending && !d.NextAttempt.IsZero() && d.NextAttempt.Before(d.CreatedAt) {
		out.NextAttemptAt = at(d.CreatedAt)
	}
	if d.Call != "" {
		out.Call = &d.Call
	}
	for _, a := range d.Attempts {
		shown := deliveryAttempt{At: at(time.UnixMicro(a.AtMicros).UTC()), Error: a.Error, TookMS: a.TookMS}
		if a.Status != 0 {
			shown.Status = &a.Status
		}
		out.Attempts = append(out.Attempts, shown)
	}
	return out
}

// checkWebhookURL refuses early what the sender would refuse when it connects.
func (s *server) checkWebhookURL(text string) error {
	u, err := url.Parse(text)
	if err != nil {
		return nil // the directory says so
	}
	if err := s.deps.WebhookNetworks.CheckURL(u); err != nil {
		return newProblem(http.StatusUnprocessableEntity, "", ProblemField{Location: "body.url",
			Message: err.Error() + "; an operator may allow its network with the setting webhooks.allow_private"})
	}
	return nil
}

// SubscriptionInput names a subscription.
type SubscriptionInput struct {
	CompanyInput
	Subscription string `path:"subscription" maxLength:"64"`
}

// DeliveryInput names a delivery of a subscription.
type DeliveryInput struct {
	SubscriptionInput
	Delivery string `path:"delivery" maxLength:"20"`
}

const subscriptionsPath = companyPath + "/subscriptions"

func (s *server) routeSubscriptions() {
	tags := []string{"Subscriptions"}

	add(s, huma.Operation{Method: "GET", Path: subscriptionsPath, OperationID: "list-subscriptions", Summary: "Webhook subscriptions, the oldest first", Tags: tags},
		func(ctx context.Context, in *struct {
			CompanyInput
			PageInput
		}) (*listOutput[subscription], error) {
			found, next, err := s.deps.Directory.Subscriptions(ctx, in.Company, in.PageInput.directory())
			if err != nil {
				return nil, err
			}
			items := make([]subscription, len(found))
			for i, d := range found {
				items[i] = s.subscriptionOf(d)
			}
			return list(items, next), nil
		})

	add(s, huma.Operation{Method: "POST", Path: subscriptionsPath, OperationID: "create-subscription", Summary: "Be told of events by webhook", Tags: tags, DefaultStatus: http.StatusCreated,
		Description: "Events are posted as Standard Webhooks has it (https://www.standardwebhooks.com): signed with the secret of the answer, which is shown this once; " +
			"at least once, with the same webhook-id each time; those of one call in their order. Any 2xx takes an event; anything else is tried again for a day. Redirects are not followed; 410 disables the subscription, and so does too much that waits (webhooks.max_pending). " +
			fmt.Sprintf("A company has up to %d subscriptions.", directory.MaxSubscriptions)},
		func(ctx context.Context, in *struct {
			CompanyInput
			Body struct {
				URL         string              `json:"url" maxLength:"2000" doc:"Where to post: http:// or https://, a public address"`
				Target      *subscriptionTarget `json:"target,omitempty" doc:"Default: the company"`
				Types       []string            `json:"types" nullable:"false" maxItems:"50" doc:"started, ringing, connected, held, resumed, muted, unmuted, transferred, ended, rejected, rated, recording_changed, verdict, device_reregister; or * for all, also those to come"`
				Description string              `json:"description,omitempty" maxLength:"500"`
				Enabled     *bool               `json:"enabled,omitempty" doc:"Default: true"`
			}
		}) (*bodyOutput[subscriptionWithSecret], error) {
			if err := s.checkWebhookURL(in.Body.URL); err != nil {
				return nil, err
			}
			made, err := s.deps.Directory.CreateSubscription(ctx, in.Company, directory.Subscription{
				URL: in.Body.URL, Target: in.Body.Target.of(), Types: in.Body.Types, Description: in.Body.Description, Enabled: in.Body.Enabled == nil || *in.Body.Enabled,
			})
			if err != nil {
				return nil, err
			}
			return s.secretOf(made), nil
		})

	const path = subscriptionsPath + "/{subscription}"
	add(s, huma.Operation{Method: "GET", Path: path, OperationID: "get-subscription", Summary: "One subscription", Tags: tags},
		func(ctx context.Context, in *SubscriptionInput) (*bodyOutput[subscription], error) {
			found, err := s.deps.Directory.Subscription(ctx, in.Company, in.Subscription)
			if err != nil {
				return nil, err
			}
			return &bodyOutput[subscription]{Body: s.subscriptionOf(found)}, nil
		})

	add(s, huma.Operation{Method: "PATCH", Path: path, OperationID: "change-subscription", Summary: "Change a subscription; what is absent stays", Tags: tags,
		Description: "A new url, and switching it on, send at once what is pending."},
		func(ctx context.Context, in *struct {
			SubscriptionInput
			Body struct {
				URL         *string             `json:"url,omitempty" maxLength:"2000"`
				Target      *subscriptionTarget `json:"target,omitempty"`
				Types       *[]string           `json:"types,omitempty" maxItems:"50"`
				Description *string             `json:"description,omitempty" maxLength:"500"`
				Enabled     *bool               `json:"enabled,omitempty"`
			}
		}) (*bodyOutput[subscription], error) {
			c := directory.SubscriptionChange{URL: in.Body.URL, Types: in.Body.Types, Description: in.Body.Description, Enabled: in.Body.Enabled}
			if in.Body.Target != nil {
				target := in.Body.Target.of()
				c.Target = &target
			}
			if c.URL != nil {
				if err := s.checkWebhookURL(*c.URL); err != nil {
					return nil, err
				}
			}
			changed, err := s.deps.Directory.UpdateSubscription(ctx, in.Company, in.Subscription, c)
			if err != nil {
				return nil, err
			}
			return &bodyOutput[subscription]{Body: s.subscriptionOf(changed)}, nil
		})

	add(s, huma.Operation{Method: "DELETE", Path: path, OperationID: "delete-subscription", Summary: "End a subscription; what is pending is not sent", Tags: tags, DefaultStatus: http.StatusNoContent},
		func(ctx context.Context, in *SubscriptionInput) (*struct{}, error) {
			return nil, s.deps.Directory.DeleteSubscription(ctx, in.Company, in.Subscription)
		})

	add(s, huma.Operation{Method: "POST", Path: path + "/rotate-secret", OperationID: "rotate-subscription-secret", Summary: "Give a subscription a new secret", Tags: tags,
		Description: "For the overlap events have two signatures, by the new secret and by the one before."},
		func(ctx context.Context, in *struct {
			SubscriptionInput
			Body *struct {
				OverlapHours *int `json:"overlap_hours,omitempty" minimum:"0" maximum:"168" doc:"Hours that the old secret signs too; default 24; 0 where it has leaked"`
			}
		}) (*bodyOutput[subscriptionWithSecret], error) {
			overlap := 24 * time.Hour
			if in.Body != nil && in.Body.OverlapHours != nil {
				overlap = time.Duration(*in.Body.OverlapHours) * time.Hour
			}
			rotated, err := s.deps.Directory.RotateSubscriptionSecret(ctx, in.Company, in.Subscription, overlap)
			if err != nil {
				return nil, err
			}
			return s.secretOf(rotated), nil
		})
	s.routeDeliveries(tags, path)
}

func (s *server) routeDeliveries(tags []string, path string) {
	add(s, huma.Operation{Method: "POST", Path: path + "/test", OperationID: "test-subscription", Summary: "Send an event of type ping", Tags: tags, DefaultStatus: http.StatusAccepted,
		Description: "It is sent at once, also where the subscription fails; the list of deliveries shows what came of it."},
		func(ctx context.Context, in *SubscriptionInput) (*bodyOutput[delivery], error) {
			id := "ping-" + rand.Text()
			now := at(s.now().UTC())
			body, err := json.Marshal(map[string]any{"type": directory.EventPing, "timestamp": now, "data": map[string]any{
				"id": id, "company": in.Company, "subscription": in.Subscription, "at": now, "text": "This is a test: the subscription works.",
			}})
			if err != nil {
				return nil, fmt.Errorf("cannot write a test as JSON: %w", err)
			}
			queued, err := s.deps.Directory.TestSubscription(ctx, in.Company, in.Subscription, id, string(body))
			if err != nil {
				return nil, err
			}
			return &bodyOutput[delivery]{Body: deliveryOf(queued)}, nil
		})

	add(s, huma.Operation{Method: "GET", Path: path + "/deliveries", OperationID: "list-deliveries", Summary: "What was and is to be delivered, the newest first", Tags: tags,
		Description: "Delivered ones are kept for the days of webhooks.retention.delivered, those given up for the days of webhooks.retention.dead."},
		func(ctx context.Context, in *struct {
			SubscriptionInput
			PageInput
			State string `query:"state" enum:"pending,delivered,dead" doc:"Only those in this state"`
		}) (*listOutput[delivery], error) {
			found, next, err := s.deps.Directory.Deliveries(ctx, in.Company, in.Subscription, in.State, in.PageInput.directory())
			if err != nil {
				return nil, err
			}
			items := make([]delivery, len(found))
			for i, d := range found {
				items[i] = deliveryOf(d)
			}
			return list(items, next), nil
		})

	add(s, huma.Operation{Method: "POST", Path: path + "/deliveries/{delivery}/redeliver", OperationID: "redeliver", Summary: "Send an event again", Tags: tags, DefaultStatus: http.StatusAccepted,
		Description: "With the same webhook-id. 409 while it is pending.", Errors: []int{http.StatusConflict}},
		func(ctx context.Context, in *DeliveryInput) (*bodyOutput[delivery], error) {
			seq, err := strconv.ParseInt(in.Delivery, 10, 64)
			if err != nil {
				return nil, directory.ErrNotFound
			}
			queued, err := s.deps.Directory.Redeliver(ctx, in.Company, in.Subscription, seq)
			if err != nil {
				return nil, err
			}
			return &bodyOutput[delivery]{Body: deliveryOf(queued)}, nil
		})
}
