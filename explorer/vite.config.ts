import { defineConfig, type Plugin, transformWithEsbuild } from "vite";

/** A library's ES module keeps its spaces, for those who bundle it again; nobody does with this one. */
const small: Plugin = {
  name: "small",
  enforce: "post",
  async generateBundle(_, bundle) {
    for (const file of Object.values(bundle))
      if (file.type === "chunk")
        file.code = (
          await transformWithEsbuild(file.code, file.fileName, {
            minify: true,
            target: "es2020",
            legalComments: "none",
            sourcemap: false,
          })
        ).code;
  },
};

export default defineConfig({
  esbuild: { jsx: "automatic", jsxImportSource: "preact", legalComments: "none" },
  define: { "process.env.NODE_ENV": JSON.stringify("production") },
  plugins: [small],
  build: {
    target: "es2020",
    cssTarget: ["chrome111", "firefox113", "safari16.4"],
    outDir: "../lensscope/explorer/static",
    // Others may keep files there too.
    emptyOutDir: false,
    lib: { entry: "src/main.tsx", formats: ["es"], fileName: () => "explorer.js" },
    rollupOptions: { output: { assetFileNames: "explorer[extname]" } },
    cssCodeSplit: false,
    sourcemap: false,
  },
});
