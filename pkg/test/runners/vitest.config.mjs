export default {
  cacheDir: process.env.VITEST_CACHE,
  test: { include: ["vitest.test.mjs"], testTimeout: 3_000 },
};
