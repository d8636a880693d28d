package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/tandem-sync/tandem/fault"
)

// LockInfo is what the holder of a SQLite database says about itself in the
// lock file. URL and Token are empty while it offers no HTTP API.
type LockInfo struct {
	PID   int    `json:"pid"`
	URL   string `json:"url,omitempty"`
	Token string `json:"token,omitempty"`
}

// Lock is the right of one process to write a SQLite database. The operating
// system takes it back when the process dies.
type Lock struct {
	file *os.File
	size int
}

const (
	lockTries = 5
	lockPause = 20 * time.Millisecond
)

func lockPath(dbPath string) (string, error) {
	abs, err := filepath.Abs(strings.TrimPrefix(dbPath, "sqlite:"))
	if err != nil {
		return "", fault.Wrap(fault.Permanent, fault.CodeConfig, "lock", err)
	}
	return abs + ".lock", nil
}

// AcquireLock takes the lock of the database at dbPath (a path or a sqlite:
// address). The lock file beside it has mode 0600 and names our pid. When
// another process holds it, the fault has code locked and names that pid.
func AcquireLock(dbPath string) (*Lock, error) {
	const op = "lock the database"
	path, err := lockPath(dbPath)
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, fileMode) // #nosec G304 -- the operator names the file
	if err != nil {
		return nil, fault.New(fault.Permanent, fault.CodeConfig, op, "%w", err).
			WithHint("check that the folder exists, can be written, and holds no symbolic link of that name")
	}
	if err := flock(f); err != nil {
		info, _ := readLockInfo(f)
		_ = f.Close() // nothing was written
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fault.Wrap(fault.Permanent, fault.CodeConfig, op, err)
		}
		return nil, fault.New(fault.Permanent, fault.CodeLocked, op, "process %d uses %s", info.PID, strings.TrimSuffix(path, ".lock")).
			WithHint("stop that process, or let this command talk to it")
	}
	l := &Lock{file: f}
	if err := errors.Join(f.Chmod(fileMode), l.put(LockInfo{PID: os.Getpid()})); err != nil {
		return nil, errors.Join(fault.Wrap(fault.Permanent, fault.CodeConfig, op, err), f.Close())
	}
	return l, nil
}

// flock tries a few times: a reader that looks whether the lock is held takes
// it for a moment.
func flock(f *os.File) error {
	var err error
	for i := range lockTries {
		if i > 0 {
			time.Sleep(lockPause)
		}
		if err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err == nil {
			return nil
		}
	}
	return err
}

// Publish says in the lock file where this process's HTTP API is.
func (l *Lock) Publish(url, token string) error {
	return l.put(LockInfo{PID: os.Getpid(), URL: url, Token: token})
}

// put replaces the content in one write, padded to the longest it ever had, so
// that a reader never sees a mixture.
func (l *Lock) put(info LockInfo) error {
	b, err := json.Marshal(info)
	if err != nil {
		return fmt.Errorf("lock file: %w", err)
	}
	text := string(b)
	if pad := l.size - len(text); pad > 0 {
		text += strings.Repeat(" ", pad)
	}
	if l.size == 0 { // what an earlier holder left
		if err := l.file.Truncate(0); err != nil {
			return fmt.Errorf("lock file: %w", err)
		}
	}
	l.size = len(text)
	if _, err := l.file.WriteAt([]byte(text), 0); err != nil {
		return fmt.Errorf("lock file: %w", err)
	}
	return nil
}

// Release empties the lock file and gives the lock back. The file stays, as
// removing it would let two processes lock two files of one name.
func (l *Lock) Release() error {
	return errors.Join(l.file.Truncate(0), l.file.Close())
}

// ReadLock says who holds the lock of the database at dbPath, if anybody does.
func ReadLock(dbPath string) (info LockInfo, held bool, err error) {
	path, err := lockPath(dbPath)
	if err != nil {
		return LockInfo{}, false, err
	}
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW, 0) // #nosec G304 -- the operator names the file
	if errors.Is(err, fs.ErrNotExist) {
		return LockInfo{}, false, nil
	}
	if err != nil {
		return LockInfo{}, false, fault.Wrap(fault.Permanent, fault.CodeConfig, "read the lock file", err)
	}
	defer func() { _ = f.Close() }() // read only; gives a lock taken below back
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB); err == nil {
		return LockInfo{}, false, nil
	}
	info, err = readLockInfo(f)
	return info, true, err
}

// readLockInfo reads the content; a holder that has just begun may not have
// written yet, so an empty file is read again for a moment.
func readLockInfo(f *os.File) (LockInfo, error) {
	const most = 64 << 10
	var info LockInfo
	var err error
	for range lockTries {
		var b []byte
		b, err = io.ReadAll(io.NewSectionReader(f, 0, most))
		if err == nil {
			err = json.Unmarshal(b, &info)
		}
		if err == nil {
			return info, nil
		}
		time.Sleep(lockPause)
	}
	return LockInfo{}, fault.New(fault.Retryable, fault.CodeLocked, "read the lock file", "%w", err)
}
