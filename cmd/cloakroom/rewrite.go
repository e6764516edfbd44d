package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// rewrite replaces a file of secrets, all of it or nothing: whoever reads it, or a crash, finds the text from before or the new one.
// It keeps the file's mode and owner. was is what the change was decided by: a file that says something else by now is left alone.
func rewrite(path, was string, change func(text string) (string, error)) error {
	path, err := filepath.EvalSymlinks(path) // the file itself, not the link to it
	if err != nil {
		return err
	}
	at, err := os.Stat(path)
	switch {
	case err != nil:
		return err
	case !at.Mode().IsRegular():
		return fmt.Errorf("%s is not a file", path)
	case at.Mode().Perm()&0o007 != 0:
		return hinted{fmt.Errorf("%s: others can read or write this secret; nothing was written", path), "chmod 600 " + path + ", and think of who may have the keys in it"}
	}
	// The new file is the lock, too: of two at once, one is told.
	next, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	switch {
	case errors.Is(err, os.ErrExist):
		return hinted{fmt.Errorf("%s.new is there: its keys are being changed, or that was interrupted", path), "if nobody is at it, remove it"}
	case errors.Is(err, os.ErrPermission), errors.Is(err, syscall.EROFS):
		return hinted{err, "run this as the owner of the file; where the folder cannot be written, change a copy and put that in its place"}
	case err != nil:
		return err
	}
	done := false
	defer func() {
		if !done {
			next.Close()
			os.Remove(next.Name())
		}
	}()
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if strings.TrimRight(string(text), "\r\n") != was {
		return hinted{fmt.Errorf("%s changed a moment ago; nothing was written", path), "try again"}
	}
	changed, err := change(string(text))
	if err != nil {
		return err
	}
	if err := fill(next, at, changed); err != nil {
		return err
	}
	if err := os.Rename(next.Name(), path); err != nil {
		return err
	}
	done = true
	return syncFolder(filepath.Dir(path))
}

// fill writes text for good, with the mode and owner of the file from before.
func fill(next *os.File, at os.FileInfo, text string) error {
	made, err := next.Stat()
	if err != nil {
		return err
	}
	old, new := at.Sys().(*syscall.Stat_t), made.Sys().(*syscall.Stat_t)
	if old.Uid != new.Uid || old.Gid != new.Gid {
		if err := next.Chown(int(old.Uid), int(old.Gid)); err != nil {
			return hinted{err, "run this as the owner of the file"}
		}
	}
	if err := next.Chmod(at.Mode().Perm()); err != nil {
		return err
	}
	if _, err := io.WriteString(next, text); err != nil {
		return err
	}
	if err := next.Sync(); err != nil {
		return err
	}
	return next.Close()
}

// syncFolder has a rename survive a power cut.
func syncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	defer folder.Close()
	return folder.Sync()
}
