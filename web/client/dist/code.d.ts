/** Every word by which the gateway says why it refused or failed. */
export declare const codes: readonly ["none", "expired", "ended", "stolen", "bad_request", "not_found", "unlisted", "wrong_host", "bad_method", "cross_site", "not_allowed", "too_large", "too_many", "login_lost", "login_spent", "login_loop", "login_denied", "login_weak", "wrong_credentials", "wrong_password", "password_short", "password_long", "password_common", "bad_identifier", "identifier_taken", "token_invalid", "token_required", "provider_down", "provider_refused", "provider_lied", "session_too_large", "session_limit", "grant_over", "conflict", "unavailable", "upstream_down", "upstream_slow", "internal"];
/** Why the gateway refused or failed. The list is closed. */
export type Code = (typeof codes)[number];
