import { createClient } from "/auth/client.js";

const auth = createClient();

async function readNotes() {
  const answer = await auth.fetch("/api/notes");
  return (await answer.json()).notes;
}

async function addNote(text) {
  await auth.fetch("/api/notes", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ text }),
  });
}

const $ = (id) => document.getElementById(id);

async function show() {
  const { authenticated, user } = await auth.session();
  $("who").textContent = authenticated ? `signed in as ${user.name}` : "signed out";
  $("sign-in").hidden = authenticated;
  $("sign-out").hidden = $("add").hidden = !authenticated;
  const notes = authenticated ? await readNotes() : [];
  $("notes").replaceChildren(...notes.map(({ text }) => Object.assign(document.createElement("li"), { textContent: text })));
}

$("sign-in").onclick = () => auth.login();
$("sign-out").onclick = () => auth.logout();
$("add").onsubmit = async (event) => {
  event.preventDefault();
  await addNote(event.target.text.value);
  event.target.reset();
  await show();
};
auth.on("change", show); // signed in or out in another tab
show();
