package main

import "syscall"

// childAttr gives the process a group of its own, so that Ctrl-C reaches only
// its parent, and has it killed when the parent dies without a word.
func childAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
