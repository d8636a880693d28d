package messages

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Decode reads a message body. It is strict, because whatever it let pass by
// mistake would be work that nobody asked for: keys are matched exactly, an
// unknown or repeated key, a null, a NUL character and text after the object
// are errors. Record ids may be strings or integers of any size and are kept
// as they are written; times are read by [ParseTime]. now is what durations
// count back from.
//
// Every error is a *Rejected with the reason to store beside the message. The
// version is judged first, then the type, so that a message of a newer version
// is called that whatever else it contains.
func Decode(body []byte, now time.Time) (Job, error) {
	if len(body) > MaxBody {
		return Job{}, reject(ReasonTooLarge, "%d bytes, at most %d are allowed", len(body), MaxBody)
	}
	if len(bytes.TrimSpace(body)) == 0 {
		return Job{}, reject(ReasonMalformed, "empty body")
	}
	if err := judgeHead(body); err != nil {
		return Job{}, err
	}
	if err := scan(body); err != nil {
		return Job{}, err
	}
	var w wire
	if err := json.Unmarshal(body, &w, json.RejectUnknownMembers(true)); err != nil {
		return Job{}, malformed(err)
	}
	return w.job(now)
}

// wire is Job as it is read.
type wire struct {
	V          int               `json:"v"`
	Type       string            `json:"type"`
	ID         *string           `json:"id"`
	Channel    string            `json:"channel"`
	Connectors []string          `json:"connectors"`
	Mode       *string           `json:"mode"`
	Start      *string           `json:"start"`
	End        *string           `json:"end"`
	RemoteIDs  []recordID        `json:"remote_ids"`
	LocalIDs   []recordID        `json:"local_ids"`
	Params     map[string]string `json:"params"`
	Flags      []string          `json:"flags"`
	Run        *int64            `json:"run"`
	Slice      *int64            `json:"slice"`
}

// scan refuses what has no meaning anywhere in a message of this version. The
// syntax is known to be right.
func scan(body []byte) error {
	dec := jsontext.NewDecoder(bytes.NewReader(body))
	for {
		tok, err := dec.ReadToken()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return malformed(err)
		case tok.Kind() == jsontext.KindNull:
			return reject(ReasonMalformed, "null at %s: leave the field out instead", place(dec.StackPointer()))
		case tok.Kind() == jsontext.KindString && strings.ContainsRune(tok.String(), 0):
			return reject(ReasonMalformed, "NUL character at %s", place(dec.StackPointer()))
		}
	}
}

// judgeHead looks at version and type only, and proves the syntax of the whole:
// one JSON object, no duplicate key, valid UTF-8.
func judgeHead(body []byte) error {
	var head struct {
		V    jsontext.Value `json:"v"`
		Type jsontext.Value `json:"type"`
	}
	if err := json.Unmarshal(body, &head); err != nil {
		return malformed(err)
	}
	switch {
	case jsontext.Value(body).Kind() != jsontext.KindBeginObject: // null fits every type
		return reject(ReasonMalformed, "not a JSON object")
	case head.V == nil:
		return reject(ReasonMalformed, "/v is missing")
	case !isInteger(head.V):
		return reject(ReasonMalformed, "/v is not an integer")
	case string(head.V) != "1":
		return reject(ReasonUnsupportedVersion, "version %s, this program speaks %d", short(string(head.V)), Version)
	case head.Type == nil:
		return reject(ReasonMalformed, "/type is missing")
	case head.Type.Kind() != jsontext.KindString:
		return reject(ReasonMalformed, "/type is not a string")
	}
	var typ string
	if err := json.Unmarshal(head.Type, &typ); err != nil {
		return malformed(err)
	}
	if typ != TypeSync && typ != TypeReverseSync {
		return reject(ReasonUnknownType, "%q, known are %q and %q", short(typ), TypeSync, TypeReverseSync)
	}
	return nil
}

// job checks the values and gives them their types.
func (w *wire) job(now time.Time) (Job, error) {
	j := Job{V: w.V, Type: w.Type, Channel: w.Channel, Connectors: w.Connectors, Params: w.Params, Flags: w.Flags}
	if err := w.checkNames(); err != nil {
		return Job{}, err
	}
	if w.ID != nil {
		j.ID = *w.ID
	}
	if w.Mode != nil {
		j.Mode = *w.Mode
	}
	var err error
	if j.RemoteIDs, err = recordIDs("/remote_ids", w.RemoteIDs); err != nil {
		return Job{}, err
	}
	if j.LocalIDs, err = recordIDs("/local_ids", w.LocalIDs); err != nil {
		return Job{}, err
	}
	if err := w.window(&j, now); err != nil {
		return Job{}, err
	}
	return j, w.progress(&j)
}

func (w *wire) checkNames() error {
	if w.Channel == "" {
		return reject(ReasonMalformed, "/channel is missing or empty")
	}
	if w.ID != nil && *w.ID == "" {
		return reject(ReasonMalformed, "/id is empty")
	}
	for _, c := range w.Connectors {
		if c == "" {
			return reject(ReasonMalformed, "/connectors holds an empty name")
		}
	}
	if w.Mode != nil && *w.Mode != ModeIncremental && *w.Mode != ModeFull {
		return reject(ReasonMalformed, "/mode is %q, known are %q and %q", short(*w.Mode), ModeIncremental, ModeFull)
	}
	for _, f := range w.Flags {
		switch f {
		case FlagDryRun, FlagForce, FlagNoPush, FlagNoPull:
		default:
			return reject(ReasonMalformed, "/flags holds %q, known are %s, %s, %s and %s",
				short(f), FlagDryRun, FlagForce, FlagNoPush, FlagNoPull)
		}
	}
	return nil
}

func (w *wire) window(j *Job, now time.Time) error {
	read := func(field string, s *string) (*time.Time, error) {
		if s == nil {
			return nil, nil
		}
		t, err := ParseTime(*s, now)
		if err != nil {
			return nil, reject(ReasonMalformed, "%s: %v", field, err)
		}
		return &t, nil
	}
	var err error
	if j.Start, err = read("/start", w.Start); err != nil {
		return err
	}
	if j.End, err = read("/end", w.End); err != nil {
		return err
	}
	if j.Start != nil && j.End != nil && !j.Start.Before(*j.End) {
		return reject(ReasonMalformed, "/end is not after /start: the window is empty")
	}
	return nil
}

func (w *wire) progress(j *Job) error {
	if w.Run != nil {
		if j.Run = *w.Run; j.Run < 1 {
			return reject(ReasonMalformed, "/run is less than 1")
		}
	}
	if w.Slice != nil {
		if j.Slice = *w.Slice; j.Slice < 1 {
			return reject(ReasonMalformed, "/slice is less than 1")
		}
		if w.Run == nil {
			return reject(ReasonMalformed, "/slice without /run")
		}
	}
	return nil
}

// recordID is a string, or an integer kept digit by digit: ids beyond 2^53
// must not be rounded.
type recordID string

// UnmarshalJSONFrom reads a string or an integer.
func (id *recordID) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	v, err := dec.ReadValue()
	if err != nil {
		return err
	}
	switch {
	case v.Kind() == jsontext.KindString:
		var s string
		if err := json.Unmarshal(v, &s); err != nil {
			return err
		}
		*id = recordID(s)
		return nil
	case isInteger(v):
		*id = recordID(v)
		return nil
	}
	return errors.New("a record id is a string or an integer")
}

func recordIDs(field string, in []recordID) ([]string, error) {
	if in == nil {
		return nil, nil
	}
	out := make([]string, len(in))
	for i, id := range in {
		if id == "" {
			return nil, reject(ReasonMalformed, "%s holds an empty id", field)
		}
		out[i] = string(id)
	}
	return out, nil
}

// isInteger says whether v is a number written without fraction, exponent or
// the sign of a negative zero.
func isInteger(v jsontext.Value) bool {
	return v.Kind() == jsontext.KindNumber && !bytes.ContainsAny(v, ".eE") && string(v) != "-0"
}

func malformed(err error) *Rejected {
	var semantic *json.SemanticError
	if errors.As(err, &semantic) {
		what := "not of the expected type"
		if semantic.Err != nil {
			what = semantic.Err.Error()
		}
		return reject(ReasonMalformed, "%s: %s", place(semantic.JSONPointer), what)
	}
	var syntax *jsontext.SyntacticError
	if errors.As(err, &syntax) {
		return reject(ReasonMalformed, "at byte %d, in %s: %v", syntax.ByteOffset, place(syntax.JSONPointer), syntax.Err)
	}
	return reject(ReasonMalformed, "%v", err)
}

func place(p jsontext.Pointer) string {
	if p == "" {
		return "the top"
	}
	return short(string(p))
}

// short keeps what a stranger sent from filling logs and reports.
func short(s string) string {
	const most = 64
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
