//go:build !linux

package main

import "syscall"

// childAttr gives the process a group of its own, so that Ctrl-C reaches only
// its parent.
func childAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
