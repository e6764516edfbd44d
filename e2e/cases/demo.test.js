// The demonstration's own page. What it shows beside is in lab.test.js.
import assert from 'node:assert/strict'
import { after } from 'node:test'
import { startBrowser } from '../lib/browser.js'
import { startDemo } from '../lib/demo.js'
import { test } from '../lib/stage.js'

const { browser } = await startBrowser()
after(() => browser.close())

test('my devices on the demonstration: another browser is signed out from here', async t => {
  const demo = await startDemo(t)
  const enter = async () => {
    const context = await browser.newContext()
    t.after(() => context.close())
    context.setDefaultTimeout(10_000)
    const page = await context.newPage()
    await page.goto(demo.url)
    await page.getByRole('button', { name: 'Sign in' }).first().click()
    await page.locator('input[name=username]').fill('ada')
    await page.locator('input[name=password]').fill('anything')
    await page.locator('form button').first().click()
    await page.getByRole('heading', { name: 'Your devices' }).waitFor()
    return page
  }
  const here = await enter()
  assert.equal(await here.getByRole('link', { name: 'My account' }).count(), 0, 'there are no accounts here')
  const there = await enter()
  const button = here.locator('#devices').getByRole('button', { name: 'Sign out' }) // it appears by itself
  await button.click()
  await button.waitFor({ state: 'detached' })
  await there.getByText('The session is over.').waitFor()
  await here.locator('#devices').getByText('this device').waitFor()
})

test('without a provider the demonstration tells what the gateway itself did, and speaks of no provider', async t => {
  const demo = await startDemo(t, { accounts: true })
  const context = await browser.newContext()
  t.after(() => context.close())
  context.setDefaultTimeout(10_000)
  const page = await context.newPage()
  await page.goto(`${demo.url}/auth/register`)
  await page.getByLabel('E-mail address').fill('ann@example.com')
  await page.getByLabel('Password').fill('correct horse battery')
  await page.getByRole('button', { name: 'Create account' }).click()
  const journal = page.locator('#journal')
  for (const words of ["the browser was shown the gateway's own page", 'Account made', 'the gateway signed a token and stored it']) await journal.getByText(words).waitFor()
  assert.doesNotMatch(await journal.textContent(), /provider/i)
})
