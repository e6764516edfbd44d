// The cases that are named smoke, in one process and one browser: run.js names their files.
for (const file of process.env.E2E_SMOKE.split('\n')) await import(file)
