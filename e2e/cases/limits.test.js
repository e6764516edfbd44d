// What browsers and servers do with cookies that are large or many, measured here, and compared with the table in docs/choosing.md.
// E2E_UPDATE=1 writes the table anew.
import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { connect } from 'node:net'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { connect as connectTLS } from 'node:tls'
import puppeteer from 'puppeteer-core'
import { startBrowser } from '../lib/browser.js'
import { startGateway } from '../lib/gateway.js'
import { close, freePort, listen, run, until } from '../lib/run.js'

const page = join(import.meta.dirname, '..', '..', 'docs', 'choosing.md')
const [head, foot] = ['<!-- measured by e2e/cases/limits.test.js -->\n', '<!-- end -->\n']

/** Sets what it is asked to set, and says what it was sent. */
const server = createServer({ maxHeaderSize: 4 << 20 }, async (req, res) => {
  if (req.method === 'POST') {
    let body = ''
    for await (const chunk of req) body += chunk
    res.setHeader('set-cookie', JSON.parse(body))
  }
  res.setHeader('content-type', 'text/html')
  res.end('<!doctype html><title>limits</title>')
})
const port = await listen(server)
after(() => close(server))

/** Runs in the page: how large a cookie may be, and how many there may be. */
async function measure() {
  const set = (...cookies) => fetch('/', { method: 'POST', body: JSON.stringify(cookies) })
  const jar = () => new Map(document.cookie.split('; ').filter(Boolean).map(pair => pair.split('=')))
  const value = bytes => 'v'.repeat(bytes - 1) // beside a name of one byte
  const largest = async (attributes = '') => {
    let [fits, over] = [1, 20_000]
    for (let bytes = 4096; over - fits > 1; bytes = fits === 4096 ? 4097 : Math.floor((fits + over) / 2)) { // what is likely comes first
      await set('c=; Max-Age=0', `c=${value(bytes)}${attributes}`)
      if (jar().get('c')?.length === bytes - 1) fits = bytes
      else over = bytes
    }
    await set('c=; Max-Age=0')
    return fits
  }
  const bytes = await largest()
  const withAttributes = await largest(`; Path=/; SameSite=Strict; Comment=${'a'.repeat(500)}`)
  await set('c=old')
  await set(`c=${value(bytes + 1)}`)
  const left = jar().get('c')
  await set('c=; Max-Age=0')

  await set(...Array.from({ length: 140 }, (_, i) => `m${i}=1`))
  let most = 0
  let rest
  for (let i = 0; i < 120 && rest === undefined; i++) {
    await set(`n${i}=1`)
    const { size } = jar()
    if (size < most) rest = size
    most = Math.max(most, size)
  }
  return { bytes, withAttributes, left, most, rest: rest ?? most }
}

/** Whether a host loses cookies when a sibling host of its site sets many. goto opens a page, evaluate runs there. */
async function pushedOut({ goto, evaluate }) {
  const fill = async () => {
    await fetch('/', { method: 'POST', body: JSON.stringify(Array.from({ length: 170 }, (_, i) => `n${i}=1`)) })
    return document.cookie.split('; ').length
  }
  await goto(`http://a.many.test:${port}/`)
  const before = await evaluate(fill)
  await goto(`http://b.many.test:${port}/`)
  assert.ok(await evaluate(fill) > 100)
  await goto(`http://a.many.test:${port}/`)
  return await evaluate(() => document.cookie.split('; ').filter(Boolean).length) < before
}

async function inPage(tab) {
  const there = { goto: url => tab.goto(url), evaluate: what => tab.evaluate(what) }
  await tab.goto(`http://app.test:${port}/`)
  return { ...await tab.evaluate(measure), shared: await pushedOut(there) }
}

async function chromium() {
  const { browser } = await startBrowser()
  try {
    return await inPage(await browser.newPage())
  } finally {
    await browser.close()
  }
}

async function firefox() {
  const browser = await puppeteer.launch({
    browser: 'firefox',
    executablePath: process.env.FIREFOX ?? '/usr/bin/firefox-esr',
    headless: true,
    userDataDir: mkdtempSync(join(run.dir, 'firefox-')),
    extraPrefsFirefox: { 'network.dns.localDomains': 'app.test,a.many.test,b.many.test', 'network.proxy.type': 0 },
    env: { ...process.env, HOME: run.home },
  })
  try {
    return await inPage(await browser.newPage())
  } finally {
    await browser.close()
  }
}

/** The largest value of a Cookie header, beside nothing but Host, that a server takes, to 256 bytes, and how it answers a larger one. */
async function headers(dial) {
  const ask = bytes => new Promise((resolve, reject) => {
    const socket = dial()
    let answer = ''
    socket.setEncoding('latin1').on('data', text => { answer += text }).on('error', reject)
    socket.on('close', () => resolve(Number(/^HTTP\/1\.1 (\d+)/.exec(answer)?.[1])))
    socket.end(`GET / HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\nCookie: c=${'v'.repeat(bytes - 2)}\r\n\r\n`)
  })
  let [fits, over, status] = [3, 200_000]
  while (over - fits > 256) {
    const bytes = Math.floor((fits + over) / 2)
    const answer = await ask(bytes)
    if (answer === 200) fits = bytes
    else [over, status] = [bytes, answer]
  }
  return { bytes: fits, status }
}

async function node() {
  const server = createServer((_, res) => res.end('hello'))
  const port = await listen(server)
  try {
    return await headers(() => connect(port, '127.0.0.1'))
  } finally {
    await close(server)
  }
}

async function gateway() {
  const port = await freePort()
  const gateway = await startGateway({ origin: `https://app.test:${port}`, issuer: 'https://127.0.0.1:1', api: 'http://127.0.0.1:1' })
  try {
    return await headers(() => connectTLS({ port, host: '127.0.0.1', servername: 'app.test' }))
  } finally {
    await gateway.stop()
  }
}

/** nginx as it is without a word about headers in its configuration; undefined where it is not installed. */
async function nginx() {
  const program = process.env.NGINX ?? 'nginx'
  if (spawnSync(program, ['-v']).error) return undefined
  const [dir, port] = [mkdtempSync(join(run.dir, 'nginx-')), await freePort()]
  const folders = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(name => `${name}_temp_path ${name};`).join(' ')
  writeFileSync(join(dir, 'nginx.conf'), `daemon off; master_process off; pid nginx.pid; error_log stderr; events {}
    http { access_log off; ${folders} server { listen 127.0.0.1:${port}; return 200; } }`)
  const child = spawn(program, ['-p', dir, '-c', 'nginx.conf'], { stdio: 'ignore' })
  const ended = once(child, 'exit')
  try {
    await until('nginx to answer', () => fetch(`http://127.0.0.1:${port}/`).catch(() => false))
    return await headers(() => connect(port, '127.0.0.1'))
  } finally {
    child.kill()
    await ended
  }
}

const rows = {
  'largest name and value together': ({ bytes }) => `${bytes} bytes`,
  'the same with 500 bytes of attributes': ({ withAttributes }) => `${withAttributes} bytes`,
  'one byte more': ({ left }) => ({ old: 'ignored without a word; an older cookie stays', undefined: 'gone, and the older cookie with it' })[left] ?? 'cut',
  'most cookies at a time': ({ most }) => `${most}`,
  'one more': ({ most, rest }) => rest < most ? `the oldest go, ${rest} stay` : 'the oldest goes',
  'cookies of sibling hosts': ({ shared }) => shared ? 'count, and can push yours out' : 'do not count',
}

test('what is said about cookie limits is measured', async t => {
  const browsers = { Chromium: await chromium(), Firefox: await firefox() }
  const servers = { 'Node, `http.createServer`': await node(), 'nginx, as it comes': await nginx(), 'this gateway': await gateway() }
  const table = (heads, lines) => [heads, heads.map(() => '---'), ...lines].map(cells => `| ${cells.join(' | ')} |\n`).join('')
  const wanted = table(['', ...Object.keys(browsers)], Object.entries(rows).map(([what, tell]) => [what, ...Object.values(browsers).map(tell)]))
  const line = (name, { bytes, status }) => [name, `${Math.round(bytes / 1024)} KiB`, `${status}`]
  const lines = Object.entries(servers).map(([name, found]) => found ? line(name, found) : [name])

  const text = readFileSync(page, 'utf8')
  const start = text.indexOf(head) + head.length
  const end = text.indexOf(foot, start)
  assert.ok(start > head.length && end >= start, 'docs/choosing.md has a place for the tables')
  const committed = text.slice(start, end)
  if (!servers['nginx, as it comes']) {
    t.diagnostic('nginx is not installed: its line is taken as it is')
    lines[1] = committed.split('\n').find(row => row.startsWith('| nginx'))?.slice(2, -2).split(' | ') ?? lines[1]
  }
  const measured = `\n${wanted}\n${table(['server', 'largest `Cookie` header', 'beyond it'], lines)}\n`
  if (process.env.E2E_UPDATE) writeFileSync(page, text.slice(0, start) + measured + text.slice(end))
  else assert.equal(committed, measured)
})
