// The demonstration's page. It has no token code: createClient() is all it knows of signing in.
import { createClient } from "/auth/client.js";
import { Countdown } from "./countdown.js";
import { startApi } from "./api.js";
import { startTrials } from "./trials.js";
import { startJournal } from "./journal.js";
import { showCookies } from "./cookies.js";
import { startDevices } from "./devices.js";
import { startMode, whereabouts } from "./mode.js";

const $ = (id) => document.getElementById(id);
const client = createClient();
const countdown = new Countdown();
const api = startApi(client);
const devices = startDevices(client, { failed: () => say("That device could not be signed out. Try again.") });

/** Shows who is signed in, or the way to sign in. */
function show(session) {
  const { authenticated, user = {} } = session;
  const name = user.name || user.preferred_username || user.email || user.sub || "";
  const said = { name, email: user.email === name ? "" : user.email ?? "", initial: [...name][0] ?? "?" };
  for (const element of document.querySelectorAll("[data-person]")) {
    element.textContent = said[element.dataset.person];
  }
  $("hero").hidden = authenticated;
  $("chip").hidden = $("account").hidden = $("logout").hidden = !authenticated;
  for (const section of document.querySelectorAll("[data-signed-in]")) section.hidden = !authenticated;
  $("board").hidden = false;
  $("board").classList.toggle("anonymous", !authenticated);
  countdown.set(authenticated ? session.access_expires_at : undefined, whereabouts[session.delivery]);
  api.suit(session);
  document.title = authenticated ? `${name} · Cloakroom demo` : "Cloakroom demo";
}

/** Asks the gateway anew: after a renewal the token's end is another. */
async function look() {
  try {
    const session = await client.session();
    show(session);
    return session;
  } catch {
    say("The gateway cannot be reached. Is the demonstration still running?");
  }
}

const load = () => Promise.all([api.load(), devices.load()]);

function say(text) {
  $("notice").textContent = text;
  $("notice").hidden = !text;
}

for (const button of document.querySelectorAll("[data-go]")) {
  button.addEventListener("click", () => client[button.dataset.go]());
}
$("logout").addEventListener("click", async () => {
  $("logout").disabled = true;
  try {
    await client.logout();
  } catch {
    say("Signing out did not work. Try again.");
    $("logout").disabled = false;
  }
});

const journal = startJournal({
  seen(event) {
    if (event.from !== "gateway") return;
    if (["renewed", "login", "logout", "ended", "replaced", "theft", "rotated"].includes(event.action)) {
      void look();
      void showCookies();
    }
    if (["login", "logout", "ended", "replaced"].includes(event.action) && !$("logout").hidden) void devices.load();
    if (event.action === "renewed") countdown.renewed();
  },
});
startTrials(client, { api, countdown, journal });

client.on("change", ({ session }) => {
  show(session);
  void showCookies();
  if (session.authenticated) void load();
});
// Somebody reads this page. It stays, and says so, instead of leaving for the provider in the middle of an experiment.
client.on("expired", (event) => {
  event.preventDefault();
  say("The session is over. Sign in again to go on.");
  void look();
});

await startMode({
  async changed() {
    say("");
    const { authenticated } = (await look()) ?? {};
    if (authenticated) await load(); // the answers bring the cookies that go with the new mode
    await showCookies();
  },
  failed: () => say("The mode could not be changed. Is the demonstration still running?"),
});
const session = await look();
void showCookies();
if (session?.authenticated) void load();
if (new URLSearchParams(location.search).get("saved") === "email") {
  api.saved("Saved. The API answered the form with a redirect back to this page.");
  history.replaceState(null, "", "/#email");
}
