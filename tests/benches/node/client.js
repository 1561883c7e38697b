// Logs in with asterisk-manager and counts manager events until `count` have come.
// usage: node client.js PORT COUNT  -> one line of JSON on stdout
'use strict';
const AsteriskManager = require('asterisk-manager');

const port = Number(process.argv[2]);
const count = Number(process.argv[3]);
let seen = 0;
let first = 0n;

const ami = new AsteriskManager(port, '127.0.0.1', 'bench', 'bench', true);
ami.on('managerevent', () => {
  if (seen === 0) first = process.hrtime.bigint();
  seen += 1;
  if (seen === count) {
    const ns = Number(process.hrtime.bigint() - first);
    console.log(JSON.stringify({ events: seen, ns }));
    process.exit(0);
  }
});
