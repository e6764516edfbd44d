// Pages of an attacker, on a sibling host of the same site (Strict cookies are sent) and on another site.
import assert from 'node:assert/strict'
import { createServer } from 'node:https'
import { close, listen, tls } from '../lib/run.js'
import { openChromium, query, signIn, test } from '../lib/stage.js'

/** Serves one page under every name, and returns its port. */
async function startAttacker(t, page = '<!doctype html><title>attacker</title>') {
  const server = createServer(tls, (_, res) => res.writeHead(200, { 'content-type': 'text/html' }).end(page))
  const port = await listen(server)
  t.after(() => close(server))
  return port
}

/** Submits a form from where page is, and returns the status of what it led to. */
async function post(page, url, { enctype = 'application/x-www-form-urlencoded', fields = { text: 'forged' } } = {}) {
  const [answer] = await Promise.all([
    page.waitForNavigation(),
    page.evaluate(([action, enctype, fields]) => {
      const form = Object.assign(document.createElement('form'), { method: 'post', action, enctype })
      for (const [name, value] of Object.entries(fields)) form.append(Object.assign(document.createElement('input'), { name, value }))
      document.body.append(form)
      form.submit()
    }, [url, enctype, fields]),
  ])
  return answer.status()
}

for (const [name, host] of [['a sibling host', 'sibling.app.test'], ['another site', 'evil.test']]) {
  test(`X1 X3 X7 X10 ${name} forges nothing`, async t => {
    const { tab, app, api, op, context, ticket } = await openChromium(t)
    const page = await tab()
    await signIn(page)
    const evil = await context.newPage()
    const attacker = `https://${host}:${await startAttacker(t)}/`
    const before = [api.seen.length, op.seen.length, await ticket()]

    for (const enctype of ['application/x-www-form-urlencoded', 'multipart/form-data', 'text/plain']) {
      await evil.goto(attacker)
      assert.equal(await post(evil, `${app}/api/form`, { enctype }), 403, enctype)
    }
    await evil.goto(attacker)
    assert.equal(await post(evil, `${app}/auth/logout`), 403)

    // Script gets nothing to read and reaches nothing; X9 neither does a socket. L11 an image starts no login.
    await evil.goto(attacker)
    const got = await evil.evaluate(async app => {
      const attempts = [
        fetch(`${app}/api/whoami`, { credentials: 'include' }),
        fetch(`${app}/auth/session`, { credentials: 'include' }),
        fetch(`${app}/api/form`, { credentials: 'include', method: 'POST', body: new URLSearchParams({ text: 'forged' }) }),
        fetch(`${app}/api/graphql`, { credentials: 'include', method: 'POST', headers: { 'content-type': 'application/json' }, body: '{}' }),
        fetch(`${app}/auth/logout`, { credentials: 'include', method: 'POST', mode: 'no-cors' }).then(() => { throw new Error('opaque') }),
        new Promise((resolve, reject) => {
          const socket = new WebSocket(`${app.replace('https', 'wss')}/api/socket`)
          socket.onopen = resolve
          socket.onerror = () => reject(new Error('refused'))
        }),
        new Promise((resolve, reject) => Object.assign(new Image(), { onload: resolve, onerror: reject, src: `${app}/auth/login` })),
      ]
      return (await Promise.allSettled(attempts)).filter(({ status }) => status === 'fulfilled').length
    }, app)
    assert.equal(got, 0)
    assert.deepEqual([api.seen.length, op.seen.length, await ticket()], before, 'nothing reached the API or the provider')
    await query(page)
  })
}

test('X5 a sandboxed frame of our own page has no origin, and forges nothing', async t => {
  const { tab, app, api } = await openChromium(t)
  const page = await tab()
  await signIn(page)
  await page.evaluate(app => {
    const frame = document.createElement('iframe')
    frame.sandbox = 'allow-forms'
    frame.srcdoc = `<form method=post action="${app}/api/form"><input name=text value=forged><button>Free!</button></form>`
    document.body.append(frame)
  }, app)
  const answer = page.waitForResponse(`${app}/api/form`)
  await page.frameLocator('iframe').getByText('Free!').click()
  assert.equal((await answer).status(), 403)
  assert.equal(api.count('/api/form'), 0)
})

test('H5 nobody frames our pages', async t => {
  const { tab, app, context } = await openChromium(t)
  await tab()
  const evil = await context.newPage()
  await evil.goto(`https://sibling.app.test:${await startAttacker(t, `<iframe src="${app}/auth/signed-out"></iframe>`)}/`)
  const frame = evil.frames().find(frame => frame !== evil.mainFrame())
  assert.doesNotMatch(await frame.content(), /signed out/i)
})

test('a link from another site finds the person signed in', async t => {
  const { tab, app, context, op } = await openChromium(t)
  const page = await tab()
  await signIn(page)
  const asked = op.count('/auth')
  const from = await context.newPage()
  await from.goto(`https://evil.test:${await startAttacker(t, `<a href="${app}/site/notes?from=link">go</a>`)}/`)
  await from.getByText('go').click() // comes without the Strict cookie: bounced once within our origin
  await from.getByRole('heading', { name: 'Notes of ann' }).waitFor()
  assert.match(from.url(), /from=link/)
  assert.equal(op.count('/auth'), asked, 'no login')
})
