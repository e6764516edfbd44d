package main

import (
	"time"

	"golang.org/x/sys/unix"
)

// ownCPU is what this process has used.
func ownCPU() (time.Duration, error) {
	var t unix.Timespec
	err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &t)
	return time.Duration(t.Nano()), err
}

// cpuTime is what all threads of the process have used, in user and in kernel mode, to the nanosecond: the kernel has a clock
// for each process (clock_getcpuclockid(3)).
func (p *process) cpuTime() (time.Duration, error) {
	const scheduled = 2 // CPUCLOCK_SCHED
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^p.cmd.Process.Pid)<<3|scheduled, &t); err != nil {
		return 0, err
	}
	return time.Duration(t.Nano()), nil
}
