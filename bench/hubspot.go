package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/tandem-sync/tandem/emulate/hubspot"
)

// sourceHubSpot names the rows that are read from an emulated HubSpot account;
// "" is the REST source.
const sourceHubSpot = "hubspot"

// hubProperties are what is read of a contact, in the order of contact's fields.
var hubProperties = []string{"email", "firstname", "lastname", "phone", "company", "score", "active", "birthday"}

// runEmulator serves an account without limits, in a process of its own, and
// prints its address. It ends when its standard input does.
func runEmulator(ctx context.Context, contacts int) error {
	p := hubspot.New(hubspot.Config{Limits: hubspot.Unlimited})
	for i := range contacts {
		p.Create(hubContact(i))
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	srv := &http.Server{Handler: p, ReadHeaderTimeout: time.Minute}
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(l) }()
	fmt.Println("http://" + l.Addr().String())
	_, err = io.Copy(io.Discard, os.Stdin)
	err = errors.Join(err, srv.Close())
	if serr := <-ended; !errors.Is(serr, http.ErrServerClosed) {
		err = errors.Join(err, serr)
	}
	return err
}

// hubContact is contact i, with the same values as the REST source's.
func hubContact(i int) map[string]string {
	return map[string]string{
		"email": fmt.Sprintf("person%08d@example.com", i), "firstname": firstNames[i%len(firstNames)], "lastname": lastNames[i%len(lastNames)],
		"phone": fmt.Sprintf("+49 30 %07d", i*7919%10_000_000), "company": fmt.Sprintf("Company %d & Sons", i%5000),
		"score": strconv.Itoa(i % 100_000), "active": strconv.FormatBool(i%3 != 0), "birthday": fmt.Sprintf("%04d-%02d-%02d", 1950+i%60, 1+i%12, 1+i%28),
	}
}

// emulator is the account's process.
type emulator struct {
	url   string
	cmd   *exec.Cmd
	stdin io.Closer
}

func (b *bench) startEmulator(ctx context.Context, contacts int) (*emulator, error) {
	cmd := exec.CommandContext(ctx, b.self, "emulate", "-contacts", strconv.Itoa(contacts)) // #nosec G204 -- this program
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	e := &emulator{cmd: cmd, stdin: stdin}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		return nil, errors.Join(fmt.Errorf("the emulator says nothing: %w", err), e.close())
	}
	e.url = strings.TrimSpace(line)
	return e, nil
}

func (e *emulator) close() error { return errors.Join(e.stdin.Close(), e.cmd.Wait()) }

// measureHubSpot compares reading an emulated HubSpot account with a loop that
// is written for that.
func (b *bench) measureHubSpot(ctx context.Context) (err error) {
	b.emulator, err = b.startEmulator(ctx, b.hubContacts)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.emulator.close()) }()
	programs := []string{programIdeal2, programTandem}
	for r := range b.hubRounds {
		b.say("HubSpot into %s, round %d of %d", postgresDB, r+1, b.hubRounds)
		turn := r % len(programs)
		order := append(append([]string(nil), programs[turn:]...), programs[:turn]...)
		if err := b.hubRound(ctx, order); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) hubRound(ctx context.Context, programs []string) error {
	want := ""
	for _, program := range programs {
		if program == programTandem && b.idealOnly {
			continue
		}
		key := rowKey{Database: postgresDB, Source: sourceHubSpot, Records: b.hubContacts, Program: program}
		got, err := b.runCases(ctx, key, caseFirst, caseUnchanged)
		if err != nil {
			return fmt.Errorf("%s with HubSpot: %w", program, err)
		}
		if want == "" {
			want = got
		}
		if got != want {
			return fmt.Errorf("%s left other contents in the table than the program before it: %s, not %s", program, got, want)
		}
	}
	return nil
}

// fetchHubSpot lists all contacts, 100 a call, the most there are. The position
// of the next page stands behind the contacts.
func fetchHubSpot(ctx context.Context, base string, pages chan<- []byte) error {
	defer close(pages)
	client := &http.Client{Timeout: time.Minute}
	q := url.Values{"limit": {"100"}, "properties": {strings.Join(hubProperties, ",")}}
	auth := http.Header{"Authorization": {"Bearer " + hubspot.DefaultToken}}
	for {
		body, err := fetch(ctx, client, base+"/crm/v3/objects/contacts?"+q.Encode(), auth)
		if err != nil {
			return err
		}
		select {
		case pages <- body:
		case <-ctx.Done():
			return ctx.Err()
		}
		at := bytes.LastIndex(body, []byte(`"paging":{"next":{"after":"`))
		if at < 0 {
			return nil
		}
		after, _, ok := bytes.Cut(body[at+len(`"paging":{"next":{"after":"`):], []byte(`"`))
		if !ok {
			return errors.New("a page whose paging has no end")
		}
		q.Set("after", string(after))
	}
}

// hubDecoder decodes HubSpot's pages as decoder does the REST source's.
type hubDecoder struct{ decoder }

func (d *hubDecoder) page(body []byte, batch []contact) ([]contact, error) {
	return d.list(body, `"results"`, batch, d.contact)
}

func (d *hubDecoder) contact(c *contact) error {
	err := d.object(func(name []byte) (err error) {
		switch string(name) {
		case `"id"`:
			c.id, err = d.value()
		case `"properties"`:
			err = d.object(func(name []byte) error { return d.property(c, name) })
		default:
			err = d.dec.SkipValue()
		}
		return err
	})
	c.hash = c.digest()
	return err
}

func (d *hubDecoder) property(c *contact, name []byte) (err error) {
	into := c.field(name)
	switch string(name) {
	case `"firstname"`:
		into = &c.first
	case `"lastname"`:
		into = &c.last
	case `"id"`:
		into = nil
	}
	if into == nil {
		return d.dec.SkipValue()
	}
	*into, err = d.value()
	return err
}

// hubChannelFile is Tandem's configuration for the same job.
const hubChannelFile = `database: %s
network: {allow: [127.0.0.0/8]}
entities:
  contacts: {table: contacts, key: id}
channels:
  - name: bench
    type: hubspot
    transport: {base_url: "%s", token: "` + hubspot.DefaultToken + `", rate_limit: 100000/s}
    schedule: "off"
    connectors:
      - name: contacts
        entity: contacts
        mapping:
          - {local: email, remote: email, required: true}
          - {local: first_name, remote: firstname}
          - {local: last_name, remote: lastname}
          - {local: phone, remote: phone}
          - {local: company, remote: company}
          - {local: score, remote: score}
          - {local: active, remote: active}
          - {local: birthday, remote: birthday}
`
