'use strict';

const { readEnvironment } = require('./properties.js');

/**
 * Proxies and, for https, certificate authorities of this process, as Node.js has them. Read at the first call, because the certificates
 * are 200 kB of text.
 */
function readNetwork(urls) {
  return {
    // In a CGI script, HTTP_PROXY is the client's `Proxy` header (CVE-2016-5385).
    httpProxy: readEnvironment('http_proxy') || (readEnvironment('REQUEST_METHOD') ? '' : readEnvironment('HTTP_PROXY')) || undefined,
    httpsProxy: readEnvironment('https_proxy') || readEnvironment('HTTPS_PROXY') || undefined,
    noProxy: readEnvironment('no_proxy') || readEnvironment('NO_PROXY') || undefined,
    caCertificates: urls.some((url) => url?.startsWith('https:')) ? readCaCertificates(readEnvironment('NODE_EXTRA_CA_CERTS')) : undefined,
  };
}

function readCaCertificates(extraFile) {
  const tls = require('node:tls');
  if (typeof tls.getCACertificates === 'function') return tls.getCACertificates('default').join('\n');
  const certificates = [...tls.rootCertificates];
  if (extraFile) {
    try {
      certificates.push(require('node:fs').readFileSync(extraFile, 'utf8'));
    } catch {
      // Node.js has warned at its start, and ignores the file too.
    }
  }
  return certificates.join('\n');
}

module.exports = { readNetwork };
