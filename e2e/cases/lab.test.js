// The laboratory's whole table, in Chromium over https, against what is committed. `npm test -- lab` attacks the default pair and
// the baselines in full and the other pairs with a handful; E2E_ALL=1 attacks all in full. E2E_UPDATE=1 commits what came out.
import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after } from 'node:test'
import { startBrowser } from '../lib/browser.js'
import { startDemo } from '../lib/demo.js'
import { until } from '../lib/run.js'
import { test } from '../lib/stage.js'

const file = join(import.meta.dirname, '..', '..', 'internal', 'demo', 'lab', 'expected.json')
const expected = JSON.parse(readFileSync(file))
const all = Boolean(process.env.E2E_ALL || process.env.E2E_UPDATE)
const smoke = ['read-tokens', 'live-session', 'form-cross', 'fetch-same']

const { browser } = await startBrowser()
after(() => browser.close())

/** Starts a run from the laboratory's page, lets its tab travel, and returns the cells that were measured. */
async function attack(context, page, columns, attacks = []) {
  const { run, tab } = await page.evaluate(async ([columns, attacks]) => {
    const response = await fetch('/demo/lab/run', { method: 'POST', body: JSON.stringify({ columns, attacks }) })
    return response.json()
  }, [columns, attacks])
  const traveller = await context.newPage()
  await traveller.goto(tab)
  return finish(page, run, columns, attacks)
}

async function finish(page, run, columns, attacks = []) {
  const look = () => page.evaluate(async run => (await fetch(`/demo/lab/table?run=${run}`)).json(), run)
  let table
  try {
    await until('the run to be done', async () => (table = await look()).run.done, { within: all ? 600_000 : 170_000, every: 250 })
  } catch (err) {
    throw new Error(`${err.message}: ${JSON.stringify(table.run)}`)
  }
  return table.attacks.filter(({ id }) => attacks.length === 0 || attacks.includes(id))
    .flatMap(({ id }) => columns.map(column => ({ column, attack: id, ...table.measured[column]?.[id] })))
}

/** Fails on every cell that came out otherwise than committed. */
function compare(cells) {
  assert.ok(cells.length > 0, 'nothing was measured')
  if (process.env.E2E_UPDATE) return commit(cells)
  const other = cells.filter(({ column, attack, end }) => !end || end !== expected[column]?.[attack])
    .map(({ column, attack, end, why, seen }) => `${column}, ${attack}: ${end || why}${seen ? ` (${seen})` : ''}, committed is ${expected[column]?.[attack]}`)
  assert.equal(other.join('\n'), '')
}

function commit(cells) {
  for (const { column, attack, end, why } of cells) {
    assert.ok(end, `${column}, ${attack}: ${why}`)
    expected[column] = { ...expected[column], [attack]: end }
  }
  writeFileSync(file, `${JSON.stringify(expected, null, 2)}\n`)
}

const baselines = ['local-storage', 'session-storage', 'script-cookie']
const pairs = ['store', 'sealed'].flatMap(storage => ['proxy', 'cookie', 'split', 'memory'].map(delivery => `${storage}-${delivery}`))

test('the laboratory: the default pair and the baselines, from its page', async t => {
  const { url } = await startDemo(t)
  const context = await browser.newContext()
  t.after(() => context.close())
  const page = await context.newPage()
  await page.goto(`${url}/lab/`)
  await page.getByRole('button', { name: 'Attack this gateway' }).click()
  await page.getByText(/^Done: \d+ cells measured/).waitFor({ timeout: 170_000 })
  compare(await finish(page, new URL(page.url()).searchParams.get('run'), ['store-proxy', ...baselines]))
  assert.equal(await page.locator('td .measured').count(), 4 * await page.locator('.attack').count(), 'the page shows them')
  await until('its tab to close', () => context.pages().length === 1)
})

test(`the laboratory: the other pairs, ${all ? 'in full' : 'a handful of attacks'}`, async t => {
  const { url } = await startDemo(t)
  const context = await browser.newContext()
  t.after(() => context.close())
  const page = await context.newPage()
  await page.goto(`${url}/lab/`)
  const others = pairs.slice(1)
  compare(await attack(context, page, others, all ? [] : smoke))
})
