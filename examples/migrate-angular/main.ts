import { HttpClient, provideHttpClient, withInterceptors } from "@angular/common/http";
import { Component, effect, inject, signal } from "@angular/core";
import { bootstrapApplication } from "@angular/platform-browser";
import { gateway } from "./gateway";
import { auth, session } from "./session";

interface Note {
  text: string;
}

@Component({
  selector: "app-root",
  template: `
    <h1>Notes</h1>
    @let now = session();
    @if (!now) {
      <p>…</p>
    } @else if (now.authenticated) {
      <p id="who">signed in as {{ now.user["name"] }}</p>
      <button (click)="auth.logout()">Sign out</button>
      <form (submit)="add($event, text)"><label>Note <input #text required /></label> <button>Add</button></form>
      <ul>
        @for (note of notes(); track $index) {
          <li>{{ note.text }}</li>
        }
      </ul>
    } @else {
      <p id="who">signed out</p>
      <button (click)="auth.login()">Sign in</button>
    }
  `,
})
class App {
  readonly auth = auth;
  readonly session = session;
  readonly notes = signal<Note[]>([]);
  private readonly http = inject(HttpClient);

  constructor() {
    effect(() => session()?.authenticated && this.load());
  }

  load() {
    this.http.get<{ notes: Note[] }>("/api/notes").subscribe(({ notes }) => this.notes.set(notes));
  }

  add(event: Event, input: HTMLInputElement) {
    event.preventDefault();
    this.http.post("/api/notes", { text: input.value }).subscribe(() => {
      input.value = "";
      this.load();
    });
  }
}

bootstrapApplication(App, { providers: [provideHttpClient(withInterceptors([gateway]))] });
