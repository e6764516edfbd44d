// The accounts' database of this process: a file of SQLite, or with E2E_ACCOUNTS=postgres a schema of the run's PostgreSQL.
import { execFile, execFileSync, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { chownSync, existsSync, mkdtempSync, openSync, readFileSync, readdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

export const postgres = process.env.E2E_ACCOUNTS === 'postgres'
if (!['', 'sqlite', 'postgres'].includes(process.env.E2E_ACCOUNTS ?? '')) throw new Error(`E2E_ACCOUNTS is ${process.env.E2E_ACCOUNTS}; there are sqlite and postgres`)

/** Where PostgreSQL's programs are: Debian does not have them on the path. */
const programs = () => {
  const root = '/usr/lib/postgresql'
  const versions = (existsSync(root) ? readdirSync(root) : []).sort((a, b) => b - a)
  const folders = [...versions.map(version => join(root, version, 'bin')), ...process.env.PATH.split(':')]
  const found = folders.find(folder => existsSync(join(folder, 'initdb')))
  if (!found) throw new Error('PostgreSQL is not installed here; npm test does it on Debian')
  return found
}

/**
 * Starts the run's PostgreSQL, as Go's tests do. It ends with this process, however that ends, or by stop. What it returns is the
 * environment of the cases.
 */
export async function startPostgres() {
  const dir = mkdtempSync(join(tmpdir(), 'cloakroom-pg-'))
  let as = {} // who it runs as: not root
  if (process.getuid() === 0) {
    const [uid, gid] = ['-u', '-g'].map(what => Number(execFileSync('id', [what, 'postgres'])))
    chownSync(dir, uid, gid)
    as = { uid, gid }
  }
  const script = readFileSync(new URL('../../store/postgres/postgrestest/serve.sh', import.meta.url), 'utf8')
  const quiet = openSync('/dev/null', 'w')
  const child = spawn('/bin/sh', ['-c', script, 'sh', dir, programs()], {
    ...as, cwd: dir, env: { PATH: process.env.PATH, LC_ALL: 'C' }, stdio: ['pipe', quiet, quiet], detached: true,
  })
  const exited = new Promise(resolve => child.once('exit', resolve))
  const ready = promisify(execFile)
  const end = Date.now() + 60_000
  while (!await ready(join(programs(), 'pg_isready'), ['-q', '-h', dir]).then(() => true, () => false)) {
    if (child.exitCode !== null || Date.now() > end) {
      throw new Error(`PostgreSQL does not start:\n${existsSync(join(dir, 'log')) ? readFileSync(join(dir, 'log')) : ''}`)
    }
    await new Promise(wake => setTimeout(wake, 50))
  }
  return {
    env: { E2E_POSTGRES: dir },
    stop: () => { child.stdin.end(); return exited },
  }
}

/** A new database for accounts: what the configuration says, and what is in it, as text. */
export function newDatabase() {
  if (!postgres) return { dsn: 'sqlite:accounts.db', dump: () => '' } // its file is looked at with the others
  const schema = `e2e_${randomBytes(8).toString('hex')}`
  const host = process.env.E2E_POSTGRES
  return {
    dsn: `postgres://postgres@/postgres?host=${encodeURIComponent(host)}&search_path=${schema}`,
    dump: () => execFileSync(join(programs(), 'pg_dump'), ['-h', host, '-U', 'postgres', '-n', schema, 'postgres'], { encoding: 'utf8' }),
  }
}
