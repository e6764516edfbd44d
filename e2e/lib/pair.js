// Where sessions rest and how access tokens reach the API, in this process: one of the eight pairs, named by E2E_PAIR.

/** Every pair, the default first. */
export const pairs = ['store', 'sealed'].flatMap(storage => ['proxy', 'cookie', 'split', 'memory'].map(delivery => `${storage}/${delivery}`))

const name = process.env.E2E_PAIR || pairs[0]
if (!pairs.includes(name)) throw new Error(`E2E_PAIR is ${name}; there are ${pairs.join(', ')}`)
const [storage, delivery] = name.split('/')

const session = '__Host-Http-session'

export const pair = {
  name,
  storage,
  delivery,
  /** Whether the browser has the access token in cookies. */
  inCookies: delivery === 'cookie' || delivery === 'split',
  /** The cookie that a session cannot do without, and every name that its cookies can have. */
  session: storage === 'sealed' ? `${session}.0` : session,
  isSession: name => storage === 'sealed' ? /^__Host-Http-session\.[0-9t]$/.test(name) : name === session,
  /** The cookies of an access token for this host alone, or for a whole domain, and which of them script may read. */
  tokenCookies: domain => ({
    proxy: [],
    memory: [],
    cookie: [{ name: domain ? '__Secure-access_token' : '__Host-Http-access_token', readable: false }],
    split: [
      { name: domain ? '__Secure-access_token' : '__Host-access_token', readable: true },
      { name: domain ? '__Secure-access_token.sig' : '__Host-Http-access_token.sig', readable: false },
    ],
  })[delivery],
}

/** The access token in a list of { name, value }, undefined where it is in no cookie. */
export function tokenOf(cookies, domain) {
  const parts = pair.tokenCookies(domain).map(({ name }) => cookies.find(cookie => cookie.name === name)?.value)
  return parts.length > 0 && parts.every(Boolean) ? parts.join('.') : undefined
}
