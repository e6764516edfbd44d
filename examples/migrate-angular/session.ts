import { signal } from "@angular/core";
import { createClient, type Session } from "@cloakroom/client";

export const auth = createClient();

/** Who is signed in; undefined until that is known. */
export const session = signal<Session | undefined>(undefined);

auth.session().then((now) => session.set(now));
auth.on("change", (event) => session.set(event.session));
