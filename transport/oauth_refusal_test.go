package transport_test

import (
	"net/url"
	"testing"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/internal/redact"
	"github.com/tandem-sync/tandem/transport"
	tt "github.com/tandem-sync/tandem/transport/transporttest"
)

func TestOAuthRefusals(t *testing.T) {
	t.Parallel()
	t.Run("wrong secret", func(t *testing.T) {
		t.Parallel()
		o := tt.NewOAuth(t)
		h := oauthClient(t, o, "")
		o.ClientSecret = "another"
		wantFault(t, call(t, h), fault.Permanent, fault.CodeAuth)
	})
	t.Run("wrong refresh token", func(t *testing.T) {
		t.Parallel()
		wantFault(t, call(t, oauthClient(t, tt.NewOAuth(t), "refresh-token-of-old")), fault.Permanent, transport.CodeReauthorise)
	})
	t.Run("token endpoint busy", func(t *testing.T) {
		t.Parallel()
		o := tt.NewOAuth(t)
		o.Fail(429, 429, 429, 429)
		err := call(t, oauthClient(t, o, "", transport.WithClock(&stepClock{})))
		wantFault(t, err, fault.RateLimited, "rate_limit")
	})
	t.Run("always 401", func(t *testing.T) {
		t.Parallel()
		o, remote := tt.NewOAuth(t), tt.New(t, nil)
		remote.Handle("/contacts", tt.Status(401))
		token, err := url.Parse(o.URL + "/token")
		if err != nil {
			t.Fatal(err)
		}
		h := client(t, remote.URL, func(cfg *transport.HTTPConfig) {
			cfg.Auth = transport.Auth{Kind: transport.AuthOAuth2, TokenURL: token, ClientID: o.ClientID, ClientSecret: redact.Secret(o.ClientSecret)}
		})
		wantFault(t, call(t, h), fault.Permanent, fault.CodeAuth)
		if n := len(remote.Seen()); n != 2 {
			t.Errorf("%d calls, want one and one repeat", n)
		}
		wantCounts(t, o, 2, 2, 0)
	})
	t.Run("guard", func(t *testing.T) {
		t.Parallel()
		o, remote := tt.NewOAuth(t), tt.New(t, nil)
		h := client(t, remote.URL, func(cfg *transport.HTTPConfig) {
			cfg.Auth = transport.Auth{Kind: transport.AuthOAuth2, TokenURL: &url.URL{Scheme: "http", Host: "10.0.0.1", Path: "/token"}, ClientID: o.ClientID, ClientSecret: "x"}
		})
		wantFault(t, call(t, h), fault.Permanent, fault.CodeNetwork)
	})
	t.Run("redirect", func(t *testing.T) {
		t.Parallel()
		thief, remote := tt.New(t, nil), tt.New(t, nil)
		remote.Handle("/token", tt.Redirect(307, thief.URL))
		token, err := url.Parse(remote.URL + "/token")
		if err != nil {
			t.Fatal(err)
		}
		h := client(t, remote.URL, func(cfg *transport.HTTPConfig) {
			cfg.Auth = transport.Auth{Kind: transport.AuthOAuth2, TokenURL: token, ClientID: "tandem", ClientSecret: "s3cret-of-the-client"}
		})
		wantFault(t, call(t, h), fault.Permanent, fault.CodeAuth)
		if len(thief.Seen()) > 0 {
			t.Error("the credential followed a redirect")
		}
	})
}

func TestOAuthAnswers(t *testing.T) {
	t.Parallel()
	for body, code := range map[string]string{
		"<html>":                 fault.CodeBadAnswer,
		`{"ok":1}`:               fault.CodeBadAnswer,
		`{"access_token":"a b"}`: fault.CodeBadAnswer,
		`{"access_token":"abcd","token_type":"mac"}`:                    fault.CodeBadAnswer,
		`{"access_token":"abcd","expires_in":"3600"}`:                   "",
		`{"access_token":"abcd","token_type":"bearer","expires_in":-1}`: "",
	} {
		srv := tt.New(t, nil)
		srv.Handle("/token", tt.JSON(body))
		srv.Handle("/contacts", tt.JSON("[]"))
		token, err := url.Parse(srv.URL + "/token")
		if err != nil {
			t.Fatal(err)
		}
		h := client(t, srv.URL, func(cfg *transport.HTTPConfig) {
			cfg.Auth = transport.Auth{Kind: transport.AuthOAuth2, TokenURL: token, ClientID: "tandem", ClientSecret: "s3cret"}
		}, transport.WithClock(&stepClock{}))
		if err := call(t, h); fault.CodeOf(err) != code {
			t.Errorf("%s: %v, want code %q", body, err, code)
		}
	}
}

func TestParseOAuth2(t *testing.T) {
	t.Parallel()
	c, problems := parseHTTP(`{"base_url":"https://a.example","auth":{"type":"oauth2","token_url":"https://login.example/token","client_id":"me","client_secret":"hush","token":"first","scopes":["a","b"]}}`)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	a := c.Auth
	if a.Kind != transport.AuthOAuth2 || a.TokenURL.Host != "login.example" || a.ClientID != "me" || a.ClientSecret != "hush" || a.Token != "first" || len(a.Scopes) != 2 {
		t.Errorf("%+v", a)
	}
	for raw, field := range map[string]string{
		`{"type":"oauth2","token_url":"ftp://x","client_id":"me","client_secret":"x"}`:                            "token_url",
		`{"type":"oauth2","token_url":"https://u:p@x.example","client_id":"me","client_secret":"x"}`:              "token_url",
		`{"type":"oauth2","token_url":"http://10.0.0.1/t","client_id":"me","client_secret":"x"}`:                  "token_url",
		`{"type":"oauth2","token_url":"https://x.example","client_id":"me","client_secret":"x","username":"u"}`:   "username",
		`{"type":"oauth2","token_url":"https://x.example","client_id":"me","client_secret":"x","scopes":{"a":1}}`: "scopes",
		`{"type":"oauth2","token_url":"https://x.example","client_id":"me","client_secret":"x","scopes":["a b"]}`: "scopes",
		`{"type":"oauth2","token_url":"https://x.example","client_id":"me"}`:                                      "client_secret",
		`{"type":"oauth2","token_url":"https://x.example","client_id":"me","client_secret":""}`:                   "client_secret",
		`{"type":"oauth2","token_url":"https://x.example","client_id":"me","client_secret":"x\n"}`:                "client_secret",
		`{"type":"oauth2","token_url":"https://x.example","client_secret":"x"}`:                                   "client_id",
	} {
		_, problems := parseHTTP(`{"base_url":"https://a.example","auth":` + raw + `}`)
		if len(problems) != 1 || problems[0].Field != "transport.auth."+field || problems[0].Fix == "" {
			t.Errorf("%s: %+v", raw, problems)
		}
	}
}
