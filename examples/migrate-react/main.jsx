import { useEffect, useState } from "react";
import { createRoot } from "react-dom/client";
import { auth, useSession } from "./session.js";

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

function App() {
  const session = useSession();
  if (!session) return <p>…</p>;
  return (
    <>
      <h1>Notes</h1>
      <p id="who">{session.authenticated ? `signed in as ${session.user.name}` : "signed out"}</p>
      {session.authenticated
        ? <button onClick={() => auth.logout()}>Sign out</button>
        : <button onClick={() => auth.login()}>Sign in</button>}
      {session.authenticated && <Notes />}
    </>
  );
}

function Notes() {
  const [notes, setNotes] = useState([]);
  const load = () => readNotes().then(setNotes);
  useEffect(() => void load(), []);

  async function submit(event) {
    event.preventDefault();
    const form = event.currentTarget;
    await addNote(form.text.value);
    form.reset();
    await load();
  }
  return (
    <>
      <form onSubmit={submit}><label>Note <input name="text" required /></label> <button>Add</button></form>
      <ul>{notes.map(({ text }, i) => <li key={i}>{text}</li>)}</ul>
    </>
  );
}

createRoot(document.getElementById("app")).render(<App />);
