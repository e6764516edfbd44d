// A real OpenID provider (npm oidc-provider) on a site of its own, with pages of its own, that counts what it is asked.
import { randomBytes } from 'node:crypto'
import { createServer } from 'node:https'
import { exportJWK, generateKeyPair } from 'jose'
import Provider, { interactionPolicy } from 'oidc-provider'
import { pair } from './pair.js'
import { close, listen, tls } from './run.js'

export const resource = 'https://api.example.test' // the audience of access tokens
export const client = { id: 'app', secret: 'a-secret-of-gateway-and-provider' }

/** Every token any provider of this process gave out: value → kind. The leak search looks for each of them. */
export const issued = new Map()

const signingKey = generateKeyPair('RS256', { extractable: true })
  .then(async ({ privateKey }) => ({ ...await exportJWK(privateKey), kid: 'e2e', alg: 'RS256', use: 'sig' }))

/**
 * Starts a provider for the app at origin `app`.
 *   accessTTL    seconds an access token lives
 *   pushed       take (and require) pushed authorization requests
 *   askConsent   show a consent page; otherwise signing in is consent
 *   idPadding, accessPadding   characters, that nothing compresses, by which ID and access tokens are longer
 */
export async function startProvider({ app, accessTTL = 300, pushed = false, askConsent = false, idPadding = 0, accessPadding = 0 }) {
  const seen = [] // { path, query } of every request, in order
  const gates = new Map() // path → promise that requests wait for
  const silent = new Set() // paths that answer nothing
  const people = new Set(['ann', 'bob'])
  const [inID, inAccess] = [padding(idPadding), padding(accessPadding)]
  const server = createServer(tls)
  const issuer = `https://127.0.0.1:${await listen(server)}`

  const policy = interactionPolicy.base()
  for (const name of ['create', 'select_account']) policy.add(new interactionPolicy.Prompt({ name, requestable: true }), 0)

  const op = new Provider(issuer, {
    clients: [{
      client_id: client.id,
      client_secret: client.secret,
      redirect_uris: [`${app}/auth/callback`],
      post_logout_redirect_uris: [`${app}/auth/signed-out`],
      grant_types: ['authorization_code', 'refresh_token'],
      require_pushed_authorization_requests: pushed,
    }],
    jwks: { keys: [await signingKey] },
    // A long ID token comes to the logout as a form of another site: OpenID Connect RP-Initiated Logout §2 wants POST taken.
    enableHttpPostMethods: true,
    cookies: { keys: ['provider cookie key'], long: { sameSite: 'none', httpOnly: true, signed: true } },
    scopes: ['openid', 'profile', 'email', 'offline_access'],
    conformIdTokenClaims: false, // claims come in the ID token
    claims: { openid: ['sub'], profile: ['name', 'padding'], email: ['email', 'email_verified'] },
    findAccount: (_, id) => people.has(id) && {
      accountId: id,
      claims: () => ({ sub: id, name: id[0].toUpperCase() + id.slice(1), email: `${id}@example.test`, email_verified: true, ...inID }),
    },
    features: {
      devInteractions: { enabled: false },
      pushedAuthorizationRequests: { enabled: pushed },
      revocation: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => resource,
        useGrantedResource: () => true,
        getResourceServerInfo: () => ({ audience: resource, scope: '', accessTokenFormat: 'jwt', accessTokenTTL: accessTTL }),
      },
      rpInitiatedLogout: {
        logoutSource: (ctx, form) => { ctx.body = html('Sign out?', form + button('op.logoutForm', 'logout', 'yes', 'Sign out')) },
        postLogoutSuccessSource: ctx => { ctx.body = html('Signed out at the provider', '') },
      },
    },
    interactions: { policy, url: (_, { uid }) => `/interaction/${uid}` },
    issueRefreshToken: () => true,
    extraTokenClaims: () => inAccess,
    rotateRefreshToken: true,
    loadExistingGrant: askConsent ? undefined : grantEverything,
    renderError: (ctx, out) => { ctx.body = html('The provider refuses', `<pre>${JSON.stringify(out)}</pre>`) },
    ttl: { AccessToken: accessTTL, IdToken: 600, RefreshToken: 3600, Grant: 3600, Session: 3600, Interaction: 600 },
  })
  const refreshTokens = []
  op.RefreshToken.prototype.save = remember(op.RefreshToken.prototype.save, value => refreshTokens.push(value))

  const oidc = op.callback()
  server.on('request', async (req, res) => {
    const url = new URL(req.url, issuer)
    seen.push({ path: url.pathname, query: Object.fromEntries(url.searchParams) })
    await gates.get(url.pathname)
    if (silent.has(url.pathname)) return res.writeHead(204).end()
    if (url.pathname.startsWith('/interaction/')) return interact(op, people, req, res).catch(err => res.writeHead(500).end(`${err}`))
    if (url.pathname === '/token') rememberAnswer(res)
    oidc(req, res)
  })
  let refreshes = 0
  for (const outcome of ['grant.success', 'grant.error']) {
    op.on(outcome, ctx => { if (ctx.oidc.params?.grant_type === 'refresh_token') refreshes++ })
  }
  op.on('server_error', (_, err) => console.error('provider:', err))

  return {
    issuer,
    seen,
    /** How often the path was asked. */
    count: path => seen.filter(entry => entry.path === path).length,
    /** How many refresh grants were asked for, whatever came of them. */
    refreshes: () => refreshes,
    /** Refresh tokens that were neither used nor revoked. */
    async liveRefreshTokens() {
      const found = await Promise.all(refreshTokens.map(value => op.RefreshToken.find(value)))
      return found.filter(token => token?.isValid)
    },
    /** Holds every request to path until the function it returns is called. */
    hold(path) {
      let release
      gates.set(path, new Promise(open => { release = () => { gates.delete(path); open() } }))
      return release
    },
    /** Has path answer 204, so that a browser stays where it is, until the function it returns is called. */
    silence(path) {
      silent.add(path)
      return () => silent.delete(path)
    },
    close: () => close(server),
  }
}

const padding = length => length > 0 ? { padding: randomBytes(length).toString('base64url').slice(0, length) } : {}

// Signing in is consent: what a first-party app's provider does.
async function grantEverything(ctx) {
  const { oidc } = ctx
  const known = oidc.result?.consent?.grantId || oidc.session.grantIdFor(oidc.client.clientId)
  const grant = (known && await oidc.provider.Grant.find(known))
    || new oidc.provider.Grant({ clientId: oidc.client.clientId, accountId: oidc.session.accountId })
  grant.addOIDCScope('openid profile email offline_access')
  grant.addResourceScope(resource, '')
  await grant.save()
  return grant
}

function remember(save, note) {
  return async function () {
    const value = await save.apply(this, arguments)
    note(value)
    return value
  }
}

function rememberAnswer(res) {
  const end = res.end
  res.end = function (body, ...rest) {
    try {
      const { access_token, refresh_token, id_token } = JSON.parse(body)
      for (const [value, kind] of [[access_token, 'AccessToken'], [refresh_token, 'RefreshToken'], [id_token, 'IDToken']]) {
        if (value) issued.set(value, kind)
      }
      if (pair.delivery === 'split' && access_token) issued.set(access_token.split('.')[2], 'Signature')
    } catch { /* an error page */ }
    return end.call(this, body, ...rest)
  }
}

// The pages a person sees: sign in, sign up, consent.
async function interact(op, people, req, res) {
  const { prompt, params } = await op.interactionDetails(req, res)
  if (req.method === 'GET') {
    res.writeHead(200, { 'content-type': 'text/html; charset=utf-8' })
    return res.end(page(prompt.name, params))
  }
  const form = await readForm(req)
  if (form.get('refuse')) {
    return op.interactionFinished(req, res, { error: 'access_denied', error_description: '<b>no</b> consent' })
  }
  const name = form.get('username')
  switch (prompt.name) {
    case 'create':
      people.add(name)
      return op.interactionFinished(req, res, { create: {}, login: { accountId: name } })
    case 'login':
    case 'select_account':
      if (people.has(name)) return op.interactionFinished(req, res, { [prompt.name]: {}, login: { accountId: name } })
      res.writeHead(200, { 'content-type': 'text/html; charset=utf-8' })
      return res.end(page('login', params))
    case 'consent': {
      const grant = new op.Grant({ clientId: params.client_id, accountId: (await op.interactionDetails(req, res)).session.accountId })
      grant.addOIDCScope(params.scope)
      grant.addResourceScope(resource, '')
      return op.interactionFinished(req, res, { consent: { grantId: await grant.save() } })
    }
  }
}

function page(prompt, params) {
  const field = `<label>Name <input name="username" value="${escape(params.login_hint ?? '')}" required></label>`
  const refuse = '<button name="refuse" value="1" formnovalidate>Refuse</button>'
  switch (prompt) {
    case 'create': return html('Sign up', `<form method="post">${field}<button>Sign up</button></form>`)
    case 'consent': return html('Allow?', `<form method="post"><button>Allow</button>${refuse}</form>`)
    default: return html('Sign in', `<form method="post">${field}<button>Sign in</button>${refuse}</form>`)
  }
}

const html = (title, body) => `<!doctype html><meta charset="utf-8"><title>${title}</title><h1>${title}</h1>${body}`
const button = (form, name, value, text) => `<button form="${form}" name="${name}" value="${value}">${text}</button>`
const escape = text => text.replace(/[&<>"]/g, c => `&#${c.charCodeAt(0)};`)

async function readForm(req) {
  let body = ''
  for await (const chunk of req) body += chunk
  return new URLSearchParams(body)
}
