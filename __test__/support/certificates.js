'use strict';

const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { temporaryFolder } = require('./package-copy.js');

let created;

/**
 * A test authority, and certificates that it has signed: one for this machine and `livekit.test`, one for another name. Created once per
 * process.
 */
function certificates() {
  created ??= create(temporaryFolder());
  return created;
}

function create(folder) {
  const file = (name) => path.join(folder, name);
  const openssl = (...args) => execFileSync('openssl', args, { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] });
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  fs.writeFileSync(
    file('openssl.cnf'),
    '[req]\ndistinguished_name = dn\n[dn]\n[ca]\nbasicConstraints = critical, CA:TRUE\n' +
      '[here]\nbasicConstraints = CA:FALSE\nsubjectAltName = DNS:localhost, DNS:livekit.test, IP:127.0.0.1\n' +
      '[elsewhere]\nbasicConstraints = CA:FALSE\nsubjectAltName = DNS:elsewhere.test\n',
  );
  openssl('req', '-x509', '-config', 'openssl.cnf', '-extensions', 'ca', ...newKey, '-days', '2', '-subj', '/CN=Test authority', '-keyout', 'ca.key', '-out', 'ca.pem');
  const leaf = (section) => {
    openssl('req', '-new', '-config', 'openssl.cnf', ...newKey, '-subj', `/CN=${section}`, '-keyout', `${section}.key`, '-out', `${section}.csr`);
    openssl('x509', '-req', '-in', `${section}.csr`, '-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial', '-days', '2', '-extfile', 'openssl.cnf', '-extensions', section, '-out', `${section}.pem`);
    return { key: fs.readFileSync(file(`${section}.key`)), cert: fs.readFileSync(file(`${section}.pem`)) };
  };
  return { authorityFile: file('ca.pem'), here: leaf('here'), elsewhere: leaf('elsewhere') };
}

module.exports = { certificates };
