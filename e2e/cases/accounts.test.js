import assert from 'node:assert/strict'
import { secrets } from '../lib/leaks.js'
import { openChromium, query, shows, smoke, test } from '../lib/stage.js'

const password = 'correct horse battery'
const ann = 'ann@example.com'
secrets.set(password, 'password')

/** Fills in one of our own pages. */
async function fill(page, button, word = password) {
  await page.getByLabel('E-mail address').fill(ann)
  await page.getByLabel('Password').fill(word)
  await page.getByRole('button', { name: button }).click()
}

/** Registers from the app's page and returns the person's sub. */
async function register(page) {
  await page.getByRole('button', { name: 'Sign up' }).click()
  await page.waitForURL('**/auth/sign-up?*')
  await fill(page, 'Create account')
  const who = await page.locator('#who').getByText(/^signed in as .{22}$/).textContent()
  return who.replace('signed in as ', '')
}

smoke('U11 register, use the API, sign out, sign in: accounts of our own, and jose verifies their tokens', async t => {
  const { tab, ticket } = await openChromium(t, { accounts: {} })
  const page = await tab()
  const sub = await register(page)
  assert.deepEqual(await query(page), { me: { sub } }) // the API looks at signature, iss, aud and typ
  const before = await ticket()

  await page.getByRole('button', { name: 'Sign out' }).click()
  await page.waitForURL('**/auth/signed-out**')
  assert.equal(await ticket(), undefined)
  await page.goto(new URL('/', page.url()).href)
  await page.getByRole('button', { name: 'Sign in' }).click()
  await page.waitForURL('**/auth/sign-in?*')
  await fill(page, 'Sign in')
  await shows(page, `signed in as ${sub}`)
  assert.deepEqual(await query(page), { me: { sub } })
  assert.notEqual(await ticket(), before)
})

test('the pages work without script, by keyboard, and say what is wrong where the focus is', async t => {
  const { app, context } = await openChromium(t, { accounts: {} })
  const plain = await context.browser().newContext({ javaScriptEnabled: false })
  t.after(() => plain.close())
  const page = await plain.newPage()
  const focused = () => page.evaluate(() => {
    const { id, ariaInvalid, attributes } = document.activeElement
    const described = (attributes['aria-describedby']?.value ?? '').split(' ').filter(Boolean)
    return { id, invalid: attributes['aria-invalid']?.value ?? ariaInvalid, says: described.map(name => document.getElementById(name).textContent) }
  })
  const type = async (...words) => {
    for (const word of words) word === 'Tab' || word === 'Enter' ? await page.keyboard.press(word) : await page.keyboard.type(word)
  }

  await page.goto(`${app}/auth/register?return_to=/site/notes`)
  await page.locator('#identifier:focus').waitFor()
  await type(ann, 'Tab', 'password1', 'Enter')
  await page.locator('#password[aria-invalid]:focus').waitFor()
  const { id, says } = await focused()
  assert.equal(id, 'password')
  assert.match(says[0], /among those that are tried first/)
  assert.match(await page.title(), /^Error: /)
  assert.equal(await page.locator('#identifier').inputValue(), ann)

  await type(password, 'Enter')
  await page.waitForURL('**/site/notes')

  await plain.clearCookies()
  await page.goto(`${app}/auth/login?return_to=/site/notes`)
  await page.locator('#identifier:focus').waitFor()
  await type(ann, 'Tab', 'wrong password', 'Enter')
  await page.locator('#password[aria-invalid]:focus').waitFor()
  assert.match((await focused()).says.join(), /no account with this e-mail address and this password/)
  assert.equal(await page.locator('#password').inputValue(), '')
  await type(password, 'Enter')
  await page.waitForURL('**/site/notes')
})

smoke('U8 a front end with forms of its own: sign in and change the password by JSON', async t => {
  const { tab, ticket } = await openChromium(t, { accounts: {} })
  const page = await tab()
  const post = (path, body) => page.evaluate(async ([path, body]) => {
    const answer = await fetch(path, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) })
    return { status: answer.status, ...await answer.json() }
  }, [path, body])

  const joined = await post('/auth/register', { identifier: ann, password })
  assert.equal(joined.status, 200)
  const before = await ticket()
  const next = 'quite another phrase'
  secrets.set(next, 'password')
  assert.equal((await post('/auth/password', { current_password: 'wrong', new_password: next })).status, 403)
  const changed = await post('/auth/password', { current_password: password, new_password: next })
  assert.deepEqual([changed.status, changed.user.sub], [200, joined.user.sub])
  assert.notEqual(await ticket(), before)
  await page.reload()
  await shows(page, `signed in as ${joined.user.sub}`)
  assert.deepEqual(await query(page), { me: { sub: joined.user.sub } })

  const refused = await post('/auth/login', { identifier: ann, password })
  assert.deepEqual([refused.status, refused.type], [422, 'urn:cloakroom:wrong_credentials'])
  assert.equal((await post('/auth/login', { identifier: ann, password: next })).status, 200)
})
