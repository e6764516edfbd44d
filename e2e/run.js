// Runs the browser suite: builds the gateway, makes the run's certificates, and hands over to Node's own test runner.
//
//   node run.js               every case over the default pair of storage and delivery, and the cases named smoke over the other seven,
//                             those named both over sealed/proxy alone; and those with accounts once more, over PostgreSQL
//   node run.js --all         every case over every pair
//   node run.js tabs renewal  the files with these words in their names, over the pair that E2E_PAIR names
//
// E2E_CASES is another folder of cases. E2E_ACCOUNTS=postgres has the accounts of some files in PostgreSQL.
import { execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join, resolve } from 'node:path'
import { makeCA } from './lib/ca.js'
import { pair, pairs } from './lib/pair.js'
import { postgres, startPostgres } from './lib/postgres.js'

const slow = new Set(['rotation.test.js', 'lab.test.js', 'lab-browsers.test.js']) // mostly waiting: begin first, beside the others

const here = import.meta.dirname
const folder = resolve(here, process.env.E2E_CASES ?? 'cases')
const once = new Set(['demo.test.js', 'lab.test.js', 'lab-browsers.test.js', 'limits.test.js']) // about all pairs, or none: they run over the default pair alone
const all = process.argv.includes('--all')
const wanted = process.argv.slice(2).filter(word => word !== '--all')
const names = readdirSync(folder).filter(file => file.endsWith('.test.js'))
const cases = names
  .filter(file => wanted.length === 0 || wanted.some(word => file.includes(word)))
  .sort((a, b) => slow.has(b) - slow.has(a))
  .map(file => join(folder, file))
if (cases.length === 0) {
  console.error(`e2e: no case is called ${wanted.join(' ')}; there are: ${names.map(file => file.replace('.test.js', '')).join(', ')}`)
  process.exit(2)
}
const quick = cases.filter(file => /^(smoke|both)\(/m.test(readFileSync(file, 'utf8')))
const whole = wanted.length === 0 && !process.env.E2E_PAIR && !process.env.E2E_CASES
const inFull = all ? pairs : [pair.name]
const inPart = all || !whole ? [] : pairs.filter(name => name !== pair.name)
const overPostgres = !postgres && (whole || all) ? ['store/proxy', 'sealed/proxy'] : []
if (whole && quick.length === 0) throw new Error('no case is named smoke or both')

const dir = mkdtempSync(join(tmpdir(), 'cloakroom-e2e-'))
const failed = []
const took = new Map() // name of a case → seconds
let database
try {
  const binary = process.env.E2E_GATEWAY ?? join(dir, 'cloakroom')
  if (!process.env.E2E_GATEWAY) {
    execFileSync('go', ['build', '-o', binary, './cmd/cloakroom'], { cwd: join(here, '..'), stdio: 'inherit' })
  }
  if (overPostgres.length > 0 || postgres) database = await startPostgres()
  const { ca, home } = makeCA(dir)
  const env = {
    ...process.env,
    E2E_RUN: dir,
    E2E_GATEWAY: binary,
    HOME: home, // a throw-away one: its certificate database trusts the test CA
    NODE_EXTRA_CA_CERTS: ca,
    SSL_CERT_FILE: ca, // for the gateway
    ...database?.env,
  }
  /** Runs files over a pair. Where there are several, words come when one is done, so that they do not mix. */
  const words = inFull.length + inPart.length > 1 ? 'pipe' : 'inherit'
  const play = (name, files, more = {}) => new Promise(done => {
    const concurrency = process.env.E2E_CONCURRENCY ?? '3'
    const args = ['--test', `--test-concurrency=${concurrency}`, '--test-timeout=900000', '--test-reporter=spec', ...files]
    const child = spawn(process.execPath, args, { cwd: here, env: { ...env, ...more, E2E_PAIR: name }, stdio: ['ignore', words, words] })
    const said = []
    for (const stream of [child.stdout, child.stderr]) stream?.on('data', text => said.push(text))
    child.once('close', status => {
      const label = `${name}${more.E2E_ACCOUNTS ? ', PostgreSQL' : ''}${more.E2E_SMOKE ? ', smoke' : ''}`
      const text = Buffer.concat(said).toString()
      process.stdout.write(`\n── ${label}\n${text}`)
      for (const [, name, ms] of text.matchAll(/^[✔✖] (.*) \(([\d.]+)ms\)/gm)) took.set(name, ms / 1000)
      if (status !== 0) failed.push(label)
      done()
    })
  })
  const allOf = name => name === pairs[0] ? cases : cases.filter(file => !once.has(basename(file)))
  const smoke = (name, files, more) => () => play(name, [join(here, 'smoke.js')], { E2E_SMOKE: files.join('\n'), ...more })
  const withAccounts = cases.filter(file => /accounts: \{/.test(readFileSync(file, 'utf8')))
  const rest = [
    ...overPostgres.map(name => all || name === pairs[0]
      ? () => play(name, withAccounts, { E2E_ACCOUNTS: 'postgres' })
      : smoke(name, withAccounts.filter(file => quick.includes(file)), { E2E_ACCOUNTS: 'postgres' })),
    ...inPart.map(name => smoke(name, quick)),
  ]
  const inTurn = async plays => { for (let next; (next = plays.shift());) await next() }
  await Promise.all([
    inTurn(inFull.map(name => () => play(name, allOf(name), all ? { E2E_ALL: '1' } : {})))
      .then(() => Promise.all([inTurn(rest), inTurn(rest)])), // the whole pairs leave room for two more
    inTurn(rest),
  ])
} finally {
  await database?.stop()
  if (process.env.E2E_KEEP) console.log(`kept ${dir}`)
  else rmSync(dir, { recursive: true, force: true })
}
if (took.size > 0) console.log('\nThe slowest cases:')
for (const [name, seconds] of [...took].sort((a, b) => a[1] - b[1]).slice(-10)) console.log(`${seconds.toFixed(1).padStart(6)} s ${name}`)
if (failed.length > 0) console.error(`e2e: failed over ${failed.join(' and ')}`)
process.exitCode = failed.length > 0 ? 1 : 0
