// Whose request is this? The access token is in the Authorization header or in the gateway's cookies, never in both. What a cookie
// brought has to prove that one of our own pages meant it. The rules are those of docs/api.md.
import { createHmac, timingSafeEqual } from 'node:crypto'
import { createRemoteJWKSet, errors, jwtVerify } from 'jose'

const algorithms = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA']
const profile = { typ: 'at+jwt', algorithms, requiredClaims: ['sub', 'client_id', 'exp', 'iat', 'jti'] } // RFC 9068

/**
 * Middleware that lets requests with a good access token pass, with its claims in req.auth.
 *   issuer, audience   what the token must say; jwks is where the issuer's keys are
 *   gateway, shared    the gateway's url, and whether its cookies have a domain or a path
 *   origins            whose pages may use the cookies; by default the gateway's
 *   csrfKey            what `cloakroom keys csrf` prints, if the gateway has csrf: token
 */
export function authenticate({ issuer, audience, jwks, gateway, shared = false, origins = [gateway], csrfKey }) {
  const keys = createRemoteJWKSet(new URL(jwks), { timeoutDuration: 5000 })
  const names = cookieNames(gateway, shared)
  const csrf = csrfKey && tokensOf(csrfKey)

  return async (req, res, next) => {
    try {
      const cookies = parse(req.headers.cookie)
      const token = find(req, cookies, names)
      if (token.inCookie && !comesFrom(origins, req)) throw new Refusal(403, 'cross_site')
      req.auth = await verify(token.value, keys, { ...profile, issuer, audience })
      if (token.inCookie && csrf && !reads(req) && !csrf.match(req.auth, only(cookies, names.csrf), req.get('x-csrf-token'))) {
        throw new Refusal(403, 'cross_site')
      }
      res.set({ 'Cache-Control': 'private' }).vary('Authorization, Cookie, Origin, Sec-Fetch-Site')
      next()
    } catch (err) {
      if (!(err instanceof Refusal)) return next(err)
      answer(res, err)
    }
  }
}

class Refusal extends Error {
  constructor(status, code, error) {
    super(code)
    Object.assign(this, { status, code, error })
  }
}

function answer(res, { status, code, error }) {
  if (status === 401 || status === 400) res.set('WWW-Authenticate', error ? `Bearer error="${error}"` : 'Bearer') // RFC 6750
  if (status === 401) res.set('Cloakroom', 'login-required') // the page's client then renews, or signs in
  if (code === 'cross_site') res.set('Cloakroom', 'cross-site') // it asks whether the CSRF token is still that of the session
  if (status === 503) res.set('Retry-After', '5')
  res.status(status).set('Cache-Control', 'no-store').type('application/problem+json').send({ type: `urn:cloakroom:${code}`, status })
}

// Where the token is.

/** What the gateway calls its cookies. */
export function cookieNames(gateway, shared) {
  const { protocol, port } = new URL(gateway)
  const prefix = protocol === 'http:' ? `cloakroom-${port || 80}-` : shared ? '__Secure-' : '__Host-Http-'
  const readable = prefix === '__Host-Http-' ? '__Host-' : prefix
  return { whole: `${prefix}access_token`, claims: `${readable}access_token`, signature: `${prefix}access_token.sig`, csrf: `${prefix}csrf` }
}

/** The cookies of a request: name → values. */
function parse(header = '') {
  const cookies = new Map()
  for (const pair of header.split(';')) {
    const [, name, value] = /^\s*([^=\s]+)=(.*?)\s*$/.exec(pair) ?? []
    if (value) cookies.set(name, [...cookies.get(name) ?? [], value])
  }
  return cookies
}

const only = (cookies, name) => cookies.get(name)?.length === 1 ? cookies.get(name)[0] : undefined

function find(req, cookies, names) {
  const header = req.headersDistinct.authorization ?? []
  const here = [...new Set([names.whole, names.claims, names.signature])].filter(name => cookies.has(name))
  const split = here.includes(names.signature) || here.includes(names.claims) && names.claims !== names.whole
  const inCookie = here.length > 0
  if (header.length + inCookie > 1 || here.some(name => !only(cookies, name)) || split && names.claims !== names.whole && here.includes(names.whole)) {
    throw new Refusal(400, 'bad_request', 'invalid_request') // two of them: whose request it is cannot be told
  }
  if (split) return { inCookie, value: `${only(cookies, names.claims)}.${only(cookies, names.signature)}` }
  if (inCookie) return { inCookie, value: only(cookies, names.whole) }
  const [, value] = /^Bearer +([\x21-\x7e]+)$/i.exec(header[0] ?? '') ?? []
  if (!value) throw new Refusal(401, 'none')
  return { inCookie, value }
}

// Whether it is good.

async function verify(token, keys, rules) {
  try {
    const { payload } = await jwtVerify(token, keys, rules)
    if (payload.cnf) throw new errors.JWTInvalid('it is bound to a key')
    return payload
  } catch (err) {
    const away = !(err instanceof errors.JOSEError) || ['ERR_JWKS_TIMEOUT', 'ERR_JWKS_INVALID', 'ERR_JOSE_GENERIC'].includes(err.code)
    throw away ? new Refusal(503, 'provider_down') : new Refusal(401, 'token_invalid', 'invalid_token')
  }
}

// Whether one of our own pages meant it.

const reads = req => ['GET', 'HEAD'].includes(req.method) && !req.headers.upgrade

/** By what the browser says. Writes come from a listed origin; reads from nowhere else, or by a link. */
function comesFrom(origins, req) {
  const { origin, 'sec-fetch-site': site, 'sec-fetch-mode': mode, 'sec-fetch-dest': dest } = req.headers
  const link = mode === 'navigate' && dest === 'document'
  return origins.includes(origin) || reads(req) && (link || [undefined, 'same-origin', 'none'].includes(site))
}

/** The gateway's CSRF tokens: HMACs over issuer, subject and session. */
export function tokensOf(csrfKey) {
  const key = Buffer.from(csrfKey.replace('cloakroom-csrf-1-', ''), 'base64url')
  if (key.length !== 32) throw new Error('csrfKey is not what cloakroom keys csrf prints')
  const encoded = text => Buffer.from(text).toString('base64url')
  const mac = (purpose, { iss, sub }, session) => createHmac('sha256', key)
    .update(['cloakroom-csrf-1', purpose, encoded(iss), encoded(sub), session].join('\n')).digest('base64url')
  return {
    /** Whether the cookie is of this person's session, and the token that came with the request is of the same. */
    match(person, cookie = '', token = '') {
      const session = cookie.split('.')[1] ?? ''
      return equal(cookie, `1.${session}.${mac('cookie', person, session)}`) && equal(token, `1.${mac('token', person, session)}`)
    },
  }
}

function equal(a, b) {
  const [x, y] = [Buffer.from(a), Buffer.from(b)]
  return x.length === y.length && timingSafeEqual(x, y)
}
