// An app: it shows who is signed in, and what the API says. The last line is the accident.
import { createClient } from "/auth/client.js";

const client = createClient();
const $ = (id) => document.getElementById(id);

async function load() {
  const answer = await client.fetch("/api/me");
  $("me").textContent = JSON.stringify(await answer.json(), null, 2);
}

client.on?.("expired", (event) => event.preventDefault());
$("reload").onclick = load;
const { authenticated, user } = await client.session().catch(() => ({}));
$("who").textContent = authenticated ? `Signed in as ${user.name}.` : "Signed out.";
if (authenticated) await load().catch(() => {});

await import("./injected.js").then(({ run }) => run(client)); // a dependency that was taken over
