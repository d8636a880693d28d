// Package web is Tandem's pages: what there is, what runs, what waits for a
// person, and buttons for what the API offers. Everything works without
// JavaScript; a small script only keeps pages that show running work up to date.
//
// The pages reach the rest through api.Backend and nothing else. Whatever a
// remote said is text to them: templates escape it, and characters that would
// change how a line reads are shown as their code points.
package web
