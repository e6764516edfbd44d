//go:build !linux

package main

import (
	"errors"
	"time"
)

var errElsewhere = errors.New("the CPU time of a process is measured on Linux only")

func (p *process) cpuTime() (time.Duration, error) { return 0, errElsewhere }

func ownCPU() (time.Duration, error) { return 0, errElsewhere }
