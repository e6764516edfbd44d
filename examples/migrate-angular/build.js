// Bundles what ngc compiled. Angular's own packages come half compiled; its linker, a plugin of Babel, does the other half.
import linker from "@angular/compiler-cli/linker/babel";
import { transformAsync } from "@babel/core";
import { build } from "esbuild";
import { copyFile, readFile } from "node:fs/promises";

const link = {
  name: "link",
  setup({ onLoad }) {
    onLoad({ filter: /@angular.*\.mjs$/ }, async ({ path }) => {
      const source = await readFile(path, "utf8");
      const linked = source.includes("ɵɵngDeclare") && (await transformAsync(source, { filename: path, plugins: [linker], compact: false }));
      return { contents: linked ? linked.code : source };
    });
  },
};

await build({
  entryPoints: ["build/main.js"],
  outdir: "dist",
  bundle: true,
  minify: true,
  format: "esm",
  define: { ngDevMode: "false", ngJitMode: "false", ngI18nClosureMode: "false" },
  plugins: [link],
});
await copyFile("index.html", "dist/index.html");
