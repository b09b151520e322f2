package clickhouse

import (
	"time"

	"github.com/ClickHouse/ch-go/proto"
)

// table is one ClickHouse table as it is inserted into: explicit columns, one block.
type table struct {
	name  string
	input proto.Input
	into  string // the INSERT statement
}

func newTable(name string) *table { return &table{name: name} }

func (t *table) column(name string, c proto.ColInput) {
	t.input = append(t.input, proto.InputColumn{Name: name, Data: c})
	t.into = t.input.Into(t.name)
}

func (t *table) rows() int { return t.input[0].Data.Rows() }
func (t *table) reset()    { t.input.Reset() }

func (t *table) text(name string) *proto.ColStr {
	c := new(proto.ColStr)
	t.column(name, c)
	return c
}

func (t *table) texts(name string) *proto.ColArr[string] {
	c := new(proto.ColStr).Array()
	t.column(name, c)
	return c
}

func (t *table) low(name string) *lowColumn {
	c := newLowColumn()
	t.column(name, c)
	return c
}

func (t *table) flag(name string) *proto.ColBool {
	c := new(proto.ColBool)
	t.column(name, c)
	return c
}

func (t *table) uint8(name string) *proto.ColUInt8 {
	c := new(proto.ColUInt8)
	t.column(name, c)
	return c
}

func (t *table) uint16(name string) *proto.ColUInt16 {
	c := new(proto.ColUInt16)
	t.column(name, c)
	return c
}

func (t *table) uint32(name string) *proto.ColUInt32 {
	c := new(proto.ColUInt32)
	t.column(name, c)
	return c
}

func (t *table) uint64(name string) *proto.ColUInt64 {
	c := new(proto.ColUInt64)
	t.column(name, c)
	return c
}

func (t *table) int64(name string) *proto.ColInt64 {
	c := new(proto.ColInt64)
	t.column(name, c)
	return c
}

func (t *table) nullFloat(name string) *nullColumn[float64, float32] {
	c := &nullColumn[float64, float32]{ColNullable: new(proto.ColFloat32).Nullable()}
	t.column(name, c)
	return c
}

func (t *table) nullUint(name string) *nullColumn[uint32, uint32] {
	c := &nullColumn[uint32, uint32]{ColNullable: new(proto.ColUInt32).Nullable()}
	t.column(name, c)
	return c
}

func (t *table) nullInt(name string) *nullColumn[int32, int32] {
	c := &nullColumn[int32, int32]{ColNullable: new(proto.ColInt32).Nullable()}
	t.column(name, c)
	return c
}

// micros is DateTime64(6).
func (t *table) micros(name string) *microsColumn {
	c := &microsColumn{*new(proto.ColDateTime64).WithPrecision(proto.PrecisionMicro)}
	t.column(name, c)
	return c
}

// nullMicros is Nullable(DateTime64(6)).
func (t *table) nullMicros(name string) *nullMicrosColumn {
	c := &nullMicrosColumn{*new(proto.ColDateTime64).WithPrecision(proto.PrecisionMicro).Nullable()}
	t.column(name, c)
	return c
}

// millis is DateTime64(3).
func (t *table) millis(name string) *millisColumn {
	c := &millisColumn{*new(proto.ColDateTime64).WithPrecision(proto.PrecisionMilli)}
	t.column(name, c)
	return c
}

type number interface {
	float32 | float64 | uint32 | int32
}

// nullColumn takes protobuf's optional scalars.
type nullColumn[From, To number] struct{ *proto.ColNullable[To] }

func (c *nullColumn[From, To]) append(v *From) {
	if v == nil {
		c.ColNullable.Append(proto.Nullable[To]{})
		return
	}
	c.ColNullable.Append(proto.Nullable[To]{Set: true, Value: To(*v)})
}

// What ClickHouse can show and Go can format: outside of it a clock was wrong.
const (
	minMicros = 0
	maxMicros = 4_102_444_800_000_000 // 2100-01-01
)

func clampMicros(us int64) int64 { return min(max(us, minMicros), maxMicros) }

type microsColumn struct{ proto.ColDateTime64 }

func (c *microsColumn) append(us int64) { c.AppendRaw(proto.DateTime64(clampMicros(us))) }

type millisColumn struct{ proto.ColDateTime64 }

func (c *millisColumn) append(us int64) { c.AppendRaw(proto.DateTime64(clampMicros(us) / 1000)) }

type nullMicrosColumn struct{ proto.ColNullable[time.Time] }

func (c *nullMicrosColumn) append(us int64) {
	if us == 0 {
		c.Append(proto.Nullable[time.Time]{})
		return
	}
	c.Append(proto.NewNullable(time.UnixMicro(clampMicros(us))))
}

// lowColumn is LowCardinality(String) whose dictionary grows while rows are
// appended, so that nothing is left to do when the block is sent.
type lowColumn struct {
	proto.ColLowCardinalityRaw
	dictionary *proto.ColStr
	keys       map[string]int
	last       string
	lastKey    int
}

func newLowColumn() *lowColumn {
	c := &lowColumn{dictionary: new(proto.ColStr), keys: map[string]int{}}
	c.Index = c.dictionary
	c.Reset()
	return c
}

// Append adds a row.
func (c *lowColumn) Append(v string) {
	if len(c.keys) > 0 && v == c.last {
		c.AppendKey(c.lastKey)
		return
	}
	key, known := c.keys[v]
	if !known {
		key = c.learn(v)
	}
	c.last, c.lastKey = v, key
	c.AppendKey(key)
}

// AppendBytes adds a row, and copies v only where it is new.
func (c *lowColumn) AppendBytes(v []byte) {
	if len(c.keys) > 0 && string(v) == c.last {
		c.AppendKey(c.lastKey)
		return
	}
	if key, known := c.keys[string(v)]; known {
		// last stays: remembering v would copy it.
		c.AppendKey(key)
		return
	}
	c.Append(string(v))
}

func (c *lowColumn) learn(v string) int {
	key := len(c.keys)
	c.keys[v] = key
	c.dictionary.Append(v)
	if key == 1<<16 {
		c.widen()
	}
	return key
}

func (c *lowColumn) widen() {
	for _, k := range c.Keys16 {
		c.Keys32 = append(c.Keys32, uint32(k))
	}
	c.Keys16 = c.Keys16[:0]
	c.Key = proto.KeyUInt32
}

// Reset forgets rows and dictionary.
func (c *lowColumn) Reset() {
	c.ColLowCardinalityRaw.Reset()
	c.Key = proto.KeyUInt16
	clear(c.keys)
}
