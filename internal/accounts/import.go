package accounts

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/cloakroom-go/cloakroom/internal/seal"
)

// ImportOptions say how people are imported. The zero value is the default.
type ImportOptions struct {
	Format   string                    // FormatCSV or FormatLines; "": what the file looks like
	Refused  func(line int, why error) // told of each line that cannot be; the others go on. Never holds a hash
	Progress func(done Imported)       // told now and then
}

// Imported is what an import has done so far.
type Imported struct {
	Added   int   // people
	There   int   // lines whose people an import has added before
	Refused int   // lines
	Bytes   int64 // of the file
}

const (
	mostLine  = 64 << 10 // bytes
	batchSize = 1000     // people who are added at once, or not at all
	tries     = 4        // of a batch
)

// Import adds the people of a file, a batch at a time, and reads no more of it than that: of lines with an object of JSON each, or of CSV
// with a header. It may be cut short and repeated, with the same file or a longer one: who was added stays as they are, whatever
// became of them since, and is not added twice. Its error is that of the database or the file, and ends it; a line that is wrong does not.
func (a *Accounts) Import(ctx context.Context, file io.Reader, o ImportOptions) (Imported, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	batches := make(chan batch, 1)
	go func() { // reading and writing take about the same time
		defer close(batches)
		a.read(ctx, file, o.Format, batches)
	}()
	var done Imported
	for b := range batches {
		start := time.Now()
		err := a.db.addAll(ctx, a.o.Login, b.lines)
		for try := 1; err != nil && try < tries && ctx.Err() == nil; try++ { // a gateway beside us writes, too; the same again is no harm
			err = a.db.addAll(ctx, a.o.Login, b.lines)
		}
		if ctx.Err() != nil {
			return done, ctx.Err()
		} else if err != nil {
			return done, err
		}
		_ = sleep(ctx, time.Since(start)/10) // let others write who wait
		for _, l := range b.lines {
			switch {
			case l.wrong != nil || l.taken != nil:
				done.Refused++
				if o.Refused != nil {
					o.Refused(l.number, cmp.Or(l.wrong, l.taken))
				}
			case l.there:
				done.There++
			default:
				done.Added++
			}
		}
		done.Bytes = b.end
		if o.Progress != nil {
			o.Progress(done)
		}
		if b.err != nil {
			return done, b.err
		}
	}
	return done, context.Cause(ctx)
}

// batch is some lines, one after the other.
type batch struct {
	lines []*line
	end   int64 // bytes of the file up to here
	err   error // that of the file, behind these lines
}

// line is one line of the file, and what became of it.
type line struct {
	number int
	row    *row
	wrong  error // it cannot be
	taken  error // there is another account of that name
	there  bool  // it was imported before
}

// read cuts the file into batches. It returns early when ctx ends.
func (a *Accounts) read(ctx context.Context, file io.Reader, format string, batches chan<- batch) {
	in := bufio.NewReaderSize(file, mostLine)
	var b batch
	send := func() bool {
		select {
		case batches <- b:
			b = batch{end: b.end}
			return true
		case <-ctx.Done():
			return false
		}
	}
	var read reader
	for number := 1; ; number++ {
		text, size, whole, err := nextLine(in)
		b.end += size
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, errLong) {
			b.err = fmt.Errorf("line %d: %w", number, err)
			send()
			return
		}
		if number == 1 {
			text = bytes.TrimPrefix(text, []byte("\ufeff"))
		}
		if errors.Is(err, errLong) {
			b.lines = append(b.lines, &line{number: number, wrong: errLong})
		} else if len(bytes.TrimSpace(text)) > 0 {
			switch {
			case read != nil:
				b.lines = append(b.lines, a.lineOf(number, read, text, whole))
			case formatOf(format, text) == FormatLines:
				read = readObject
				b.lines = append(b.lines, a.lineOf(number, read, text, whole))
			default:
				if read, b.err = readTable(text, a.o.Login); b.err != nil {
					b.err = fmt.Errorf("line %d: %w", number, b.err)
					send()
					return
				}
			}
		}
		if errors.Is(err, io.EOF) {
			send()
			return
		}
		if len(b.lines) == batchSize && !send() {
			return
		}
	}
}

func (a *Accounts) lineOf(number int, read reader, text []byte, whole bool) *line {
	l := &line{number: number}
	if !utf8.Valid(text) {
		l.wrong = errors.New("it is not UTF-8")
		return l
	}
	p, err := read(text, whole)
	if err == nil {
		l.row, err = p.row(a.o.Login, seal.RandomText(16), time.Now())
	}
	l.wrong = err
	return l
}

var errLong = fmt.Errorf("it has more than %d bytes", mostLine)

// nextLine returns a line without its end, until the next call, and its size in the file. Whole: there was a line end. One that is too
// long is skipped: errLong.
func nextLine(in *bufio.Reader) (text []byte, size int64, whole bool, err error) {
	text, err = in.ReadSlice('\n')
	size = int64(len(text))
	if errors.Is(err, bufio.ErrBufferFull) {
		for errors.Is(err, bufio.ErrBufferFull) {
			var more []byte
			more, err = in.ReadSlice('\n')
			size += int64(len(more))
		}
		if err == nil || errors.Is(err, io.EOF) {
			err = errLong
		}
		return nil, size, false, err
	}
	text, whole = bytes.CutSuffix(text, []byte("\n"))
	return bytes.TrimSuffix(text, []byte("\r")), size, whole, err
}

// atOnce is how many people one statement adds: a statement costs about as much as a row.
const atOnce = 50

// addAll adds the people of some lines, all or none, and notes on each line what became of it.
func (d *database) addAll(ctx context.Context, login string, lines []*line) error {
	lines = slices.DeleteFunc(slices.Clone(lines), func(l *line) bool { return l.wrong != nil })
	return d.within(ctx, "import accounts", func(ctx context.Context, tx *transaction) error {
		for _, l := range lines {
			l.taken, l.there = nil, false // of a try before
		}
		strangers := true // so far: where somebody is there already, so are mostly those who follow
		for some := range slices.Chunk(lines, atOnce) {
			if strangers && len(some) == atOnce {
				var err error
				if strangers, err = addStrangers(ctx, tx, some); err != nil {
					return err
				} else if strangers {
					continue
				}
			}
			for _, l := range some {
				if err := addOne(ctx, tx, login, l); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// addStrangers adds people with one statement, if none of them is there.
func addStrangers(ctx context.Context, tx *transaction, lines []*line) (bool, error) {
	if _, err := tx.ExecContext(ctx, "SAVEPOINT strangers"); err != nil {
		return false, err
	}
	var args []any
	for _, l := range lines {
		args = l.row.append(args)
	}
	n, err := affected(tx.ExecContext(ctx, insertOf(len(lines)), args...))
	if err != nil {
		return false, err
	}
	if n < int64(len(lines)) {
		_, err = tx.ExecContext(ctx, "ROLLBACK TO SAVEPOINT strangers")
	} else {
		_, err = tx.ExecContext(ctx, "RELEASE SAVEPOINT strangers")
	}
	return n == int64(len(lines)), err
}

func addOne(ctx context.Context, tx *transaction, login string, l *line) error {
	n, err := affected(tx.ExecContext(ctx, insertOf(1), l.row.append(nil)...))
	if err != nil || n == 1 {
		return err
	}
	var from []byte
	err = tx.QueryRowContext(ctx, "SELECT imported FROM account WHERE "+keyColumn(login)+" = ?", l.row.key).Scan(&from)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		l.taken = errors.New("another account has its sub, or the other name that it has")
	case err != nil:
		return err
	case bytes.Equal(from, l.row.digest):
		l.there = true
	default:
		l.taken = fmt.Errorf("there is an account %s already, and it stays as it is", l.row.identifier)
	}
	return nil
}

func affected(result sql.Result, err error) (int64, error) {
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// insertOf is the statement that adds so many people, except those who are there.
func insertOf(people int) string {
	const one = "(?, ?, ?, ?, ?, ?, ?, ?, ?, 1, ?, ?, ?)"
	return "INSERT INTO account (id, email, email_key, email_verified, username, username_key, name, claims, password, epoch, created, disabled, imported) VALUES " +
		strings.Repeat(one+", ", people-1) + one + " ON CONFLICT DO NOTHING"
}

// append adds the arguments of insertOf.
func (r *row) append(args []any) []any {
	return append(args, r.id, r.email, r.emailKey, r.verified, r.username, r.usernameKey, r.name, r.claims, r.hash, r.created, r.disabled, r.digest)
}
