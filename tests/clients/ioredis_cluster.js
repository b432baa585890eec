// ioredis' Cluster, which knows where keys are.
//
//   node ioredis_cluster.js PORT            every family, through the redirect port PORT
//   node ioredis_cluster.js PORT SECONDS    reads and writes for so long; an error fails

const assert = require("node:assert");
const Redis = require("ioredis");
const version = require("ioredis/package.json").version;

const [port, seconds] = process.argv.slice(2).map(Number);

async function families(c) {
  for (let n = 0; n < 200; n++) assert.strictEqual(await c.set(`key:${n}`, n), "OK");
  const got = await Promise.all(Array.from({ length: 200 }, (_, n) => c.get(`key:${n}`)));
  got.forEach((value, n) => assert.strictEqual(value, String(n)));
  const pipe = c.pipeline();
  for (let n = 0; n < 50; n++) pipe.incr("{io}count");
  const counted = await pipe.exec();
  assert.strictEqual(counted[49][1], 50);
  const both = await c.multi().set("{io}a", 1).incrby("{io}a", 4).exec();
  assert.deepStrictEqual(both.map(([, reply]) => reply), ["OK", 5]);
  assert.strictEqual(await c.rpush("{io}l", "a", "b"), 2);
  assert.deepStrictEqual(await c.lrange("{io}l", 0, -1), ["a", "b"]);
  assert.strictEqual(await c.hset("{io}h", { f: 1 }), 1);
  assert.deepStrictEqual(await c.hgetall("{io}h"), { f: "1" });
  assert.strictEqual(await c.del("{io}count", "{io}l", "{io}h"), 3);
  assert.strictEqual(c.nodes("master").length, 3);
}

async function load(c) {
  const until = Date.now() + seconds * 1000;
  const errors = [];
  let done = 0;
  for (; Date.now() < until; done++) {
    try {
      await c.set(`load:${process.pid}:${done % 500}`, done);
      assert.strictEqual(await c.get(`load:${process.pid}:${done % 500}`), String(done));
    } catch (error) {
      errors.push(String(error));
    }
  }
  console.log(`${done} writes and reads, ${errors.length} errors ${errors.slice(0, 3)}`);
  return errors.length === 0;
}

async function main() {
  const c = new Redis.Cluster([{ host: "127.0.0.1", port }]);
  if (seconds) {
    const isWell = await load(c);
    c.disconnect();
    process.exit(isWell ? 0 : 1);
  }
  await families(c);
  c.disconnect();
  const replicas = new Redis.Cluster([{ host: "127.0.0.1", port }], { scaleReads: "all" });
  assert.strictEqual(await replicas.get("key:7"), "7");
  replicas.disconnect();
  console.log(`ioredis ${version}: all is well`);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
