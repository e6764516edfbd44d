// A smaller part of the laboratory's table in Firefox and WebKit: the default pair, the one in which the page has the token, and the
// baseline whose cookie depends on what a browser makes of one without SameSite. Only with --all.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { startDemo } from '../lib/demo.js'
import { startFirefox } from '../lib/firefox.js'
import { until } from '../lib/run.js'
import { test } from '../lib/stage.js'
import { startWebKit } from '../lib/webdriver.js'

const expected = JSON.parse(readFileSync(join(import.meta.dirname, '..', '..', 'internal', 'demo', 'lab', 'expected.json')))
const columns = ['store-proxy', 'sealed-split', 'store-memory', 'script-cookie']
const attacks = [
  'read-tokens', 'send-policy', 'live-session', 'form-cross', 'form-same', 'fetch-same', 'websocket', 'framing', 'login-csrf', 'edit-role',
  'toss-cookie', 'replay-logout',
]

/** Lets a tab travel, and compares what came of it with what is committed for Chromium, but for what the browser is known to do otherwise. */
async function compare(demo, go, { attacks, otherwise = {} }) {
  const { run, tab } = await demo.ask('/demo/lab/run', { columns, attacks })
  await go(tab)
  let table
  const done = async () => (table = await demo.ask(`/demo/lab/table?run=${run}`)).run.done
  await until('the run to be done', done, { within: 150_000, every: 250 }).catch(err => { throw new Error(`${err.message}: ${JSON.stringify(table.run)}`) })
  const other = columns.flatMap(column => attacks.map(attack => {
    const { end, why, seen } = table.measured[column]?.[attack] ?? {}
    const wanted = otherwise[column]?.[attack] ?? expected[column][attack]
    return end === wanted ? [] : [`${column}, ${attack}: ${end || why}${seen ? ` (${seen})` : ''}, wanted is ${wanted}`]
  })).flat()
  assert.equal(other.join('\n'), '')
}

test('Firefox: the laboratory', async t => {
  if (!process.env.E2E_ALL) return t.skip('with --all')
  const demo = await startDemo(t)
  const browser = await startFirefox(t, 'app.shop.test', 'evil.shop.test', 'evil.test')
  const page = await browser.newPage()
  await compare(demo, tab => page.goto(tab), { attacks })
})

// WebKitGTK has no option for names: the app is https://localhost, its sibling another port there, and the other site 127.0.0.1. What
// hangs on a sibling being another host cannot be tried.
test('WebKit: the laboratory', async t => {
  if (!process.env.E2E_ALL) return t.skip('with --all')
  const demo = await startDemo(t, { host: 'localhost', sibling: 'localhost', foreign: '127.0.0.1' })
  const page = await startWebKit(t)
  // It sends a cookie without SameSite to other sites' requests, as Chromium and Firefox used to.
  const otherwise = { 'script-cookie': { websocket: 'anyone', framing: 'anyone' } }
  await compare(demo, tab => page.goto(tab), { attacks: attacks.filter(name => name !== 'toss-cookie'), otherwise })
})
