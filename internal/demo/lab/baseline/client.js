// What many front ends do without a gateway: the tokens of a login are kept where script can reach them. One of three places,
// which the page's address names.
const keep = new URLSearchParams(location.search).get("keep");

const places = {
  localStorage: stored(localStorage),
  sessionStorage: stored(sessionStorage),
  cookie: {
    get: () => /(?:^|; )token=([^;]*)/.exec(document.cookie)?.[1],
    set: ({ access_token }) => (document.cookie = `token=${access_token}; Path=/; Max-Age=60${location.protocol === "https:" ? "; Secure" : ""}`),
    clear: () => (document.cookie = "token=; Path=/; Max-Age=0"),
  },
};

function stored(storage) {
  return {
    get: () => storage.getItem("access_token"),
    set: ({ access_token, refresh_token }) => {
      storage.setItem("access_token", access_token);
      storage.setItem("refresh_token", refresh_token);
    },
    clear: () => ["access_token", "refresh_token"].forEach((key) => storage.removeItem(key)),
  };
}

/** The same interface as the gateway's client. */
export function createClient() {
  const place = places[keep];
  return {
    async session() {
      for (const [name, other] of Object.entries(places)) if (name !== keep) other.clear();
      if (!place.get()) place.set(await (await fetch("/auth/login", { method: "POST" })).json());
      const claims = JSON.parse(atob(place.get().split(".")[1].replaceAll("-", "+").replaceAll("_", "/")));
      return { authenticated: true, user: claims };
    },
    fetch(input, init = {}) {
      const headers = new Headers(init.headers);
      if (keep !== "cookie") headers.set("Authorization", `Bearer ${place.get()}`); // a cookie goes by itself
      return fetch(input, { ...init, headers });
    },
    signedIn: () => Boolean(place.get()),
    async end() {
      place.clear();
    },
  };
}
