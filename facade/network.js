'use strict';

const { readEnvironment } = require('./properties.js');

/**
 * How this process reaches other hosts: Node's own proxies and, for https, the certificate authorities Node trusts.
 * Read at the first call, since the authorities are 200 kB of text.
 */
function readNetwork(apiUrl) {
  return {
    // A CGI script's HTTP_PROXY is the visitor's `Proxy` header (CVE-2016-5385).
    httpProxy: readEnvironment('http_proxy') || (readEnvironment('REQUEST_METHOD') ? '' : readEnvironment('HTTP_PROXY')) || undefined,
    httpsProxy: readEnvironment('https_proxy') || readEnvironment('HTTPS_PROXY') || undefined,
    noProxy: readEnvironment('no_proxy') || readEnvironment('NO_PROXY') || undefined,
    authorities: apiUrl?.startsWith('https:') ? readAuthorities(readEnvironment('NODE_EXTRA_CA_CERTS')) : undefined,
  };
}

function readAuthorities(extraFile) {
  const tls = require('node:tls');
  if (typeof tls.getCACertificates === 'function') return tls.getCACertificates('default').join('\n');
  const authorities = [...tls.rootCertificates];
  if (extraFile) {
    try {
      authorities.push(require('node:fs').readFileSync(extraFile, 'utf8'));
    } catch {
      // Node has warned of it at its own start, and goes on without.
    }
  }
  return authorities.join('\n');
}

module.exports = { readNetwork };
