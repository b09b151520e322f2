package directory

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// FeedSecretFile is the name of the file in the data folder that holds the secret
// which credentials are sealed with, where none is configured.
const FeedSecretFile = "directory.secret"

// minSecretBytes is the least length of a configured secret. It should be random.
const minSecretBytes = 16

// seal keeps credentials secret on their way through Kafka, where whoever may
// read a topic, or a broker's disk, would have them. It is AES-256-GCM with a
// nonce made of the content: the same is sealed the same, so that an unchanged
// record is known by its bytes. The key of the Kafka record is bound in: what was
// sealed for one device opens as no other's.
type seal struct {
	aead cipher.AEAD
	mac  []byte
}

// newSeal derives the keys from a secret; without one, nothing can be opened.
func newSeal(secret string) (*seal, error) {
	if secret == "" {
		return nil, nil
	}
	derive := func(purpose string) ([]byte, error) {
		return hkdf.Key(sha256.New, []byte(secret), nil, "earshot directory feed: "+purpose, 32)
	}
	key, err := derive("encryption")
	if err != nil {
		return nil, fmt.Errorf("cannot derive the key of credentials: %w", err)
	}
	mac, err := derive("nonce")
	if err != nil {
		return nil, fmt.Errorf("cannot derive the key of credentials: %w", err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("cannot use the key of credentials: %w", err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("cannot use the key of credentials: %w", err)
	}
	return &seal{aead, mac}, nil
}

func (s *seal) close(key, plain []byte) []byte {
	h := hmac.New(sha256.New, s.mac)
	fmt.Fprintf(h, "%d:", len(key))
	h.Write(key)
	h.Write(plain)
	nonce := h.Sum(nil)[:s.aead.NonceSize()]
	return s.aead.Seal(nonce, nonce, plain, key)
}

var errSealed = errors.New("cannot be opened with this secret")

func (s *seal) open(key, sealed []byte) ([]byte, error) {
	if s == nil || len(sealed) < s.aead.NonceSize() {
		return nil, errSealed
	}
	nonce, rest := sealed[:s.aead.NonceSize()], sealed[s.aead.NonceSize():]
	plain, err := s.aead.Open(nil, nonce, rest, key)
	if err != nil {
		return nil, errSealed
	}
	return plain, nil
}

// FeedSecret is the secret that cfg names, else that of dataDir, which is made
// where create says so and there is none. It is empty where there is none.
func FeedSecret(cfg Config, dataDir string, create bool) (string, error) {
	if cfg.FeedSecret != "" {
		// Whoever reads the topic could try short ones until credentials open.
		if len(cfg.FeedSecret) < minSecretBytes {
			return "", fmt.Errorf("directory.feed_secret must have at least %d characters: credentials in Kafka are only as safe as it is", minSecretBytes)
		}
		return cfg.FeedSecret, nil
	}
	path := filepath.Join(dataDir, FeedSecretFile)
	text, err := os.ReadFile(path)
	switch {
	case err == nil:
		return strings.TrimSpace(string(text)), nil
	case !errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("cannot read the secret of the directory's feed: %w", err)
	case !create:
		return "", nil
	}
	if err := os.MkdirAll(dataDir, 0o750); err != nil {
		return "", fmt.Errorf("cannot make the data folder: %w", err)
	}
	secret := rand.Text() + rand.Text()
	// Linked into place whole: of several that start at once, one wins.
	draft, err := os.CreateTemp(dataDir, FeedSecretFile+".*") // mode 0600
	if err != nil {
		return "", fmt.Errorf("cannot store the secret of the directory's feed: %w", err)
	}
	defer os.Remove(draft.Name())
	if _, err := draft.WriteString(secret + "\n"); err != nil {
		draft.Close()
		return "", fmt.Errorf("cannot store the secret of the directory's feed: %w", err)
	}
	if err := errors.Join(draft.Sync(), draft.Close()); err != nil {
		return "", fmt.Errorf("cannot store the secret of the directory's feed: %w", err)
	}
	if err := os.Link(draft.Name(), path); errors.Is(err, fs.ErrExist) {
		return FeedSecret(cfg, dataDir, false)
	} else if err != nil {
		return "", fmt.Errorf("cannot store the secret of the directory's feed: %w", err)
	}
	return secret, nil
}
