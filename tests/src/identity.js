// The identity service of the tests; src/identity.rs starts it.
// Arguments: the port of the metadata service (the token endpoint has the next), certificate and key of the token
// endpoint, life of a token in seconds, the one federated token that is taken.
const fs = require('fs');
const [port, cert, key, life, assertion] = process.argv.slice(1);

function token() {
  const now = Math.floor(Date.now() / 1000);
  const claims = {
    aud: 'https://storage.azure.com',
    iss: 'https://sts.windows.net/00000000-0000-0000-0000-00000000aaaa/',
    iat: now,
    nbf: now - 5,
    exp: now + Number(life),
    oid: '00000000-0000-0000-0000-00000000bbbb',
    tid: '00000000-0000-0000-0000-00000000aaaa',
  };
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  return { claims, text: `${part({ alg: 'RS256', typ: 'JWT' })}.${part(claims)}.bm90LXNpZ25lZA` };
}

function answer(response, status, body, done) {
  console.log(done);
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(body));
}

// "How to use managed identities on a virtual machine", Microsoft Entra documentation.
require('http')
  .createServer((request, response) => {
    const url = new URL(request.url, 'http://machine');
    const resource = url.searchParams.get('resource');
    const right =
      request.method === 'GET' &&
      url.pathname === '/metadata/identity/oauth2/token' &&
      request.headers.metadata === 'true' &&
      resource === 'https://storage.azure.com';
    if (!right) {
      return answer(response, 400, { error: 'invalid_request' }, `refused ${request.method} ${request.url}`);
    }
    const { claims, text } = token();
    const body = { access_token: text, expires_on: String(claims.exp), token_type: 'Bearer', resource };
    answer(response, 200, body, 'metadata');
  })
  .listen(Number(port), '127.0.0.1');

// RFC 7523, 2.2, as Microsoft Entra takes it.
require('https')
  .createServer({ cert: fs.readFileSync(cert), key: fs.readFileSync(key) }, (request, response) => {
    let text = '';
    request.on('data', (piece) => (text += piece));
    request.on('end', () => {
      const form = new URLSearchParams(text);
      const right =
        request.method === 'POST' &&
        request.url === '/some-tenant/oauth2/v2.0/token' &&
        form.get('grant_type') === 'client_credentials' &&
        form.get('client_id') === 'some-client' &&
        form.get('client_assertion_type') === 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer' &&
        form.get('client_assertion') === assertion &&
        form.get('scope') === 'https://storage.azure.com/.default';
      if (!right) {
        const body = { error: 'invalid_client', error_codes: [70021], error_description: 'no such federation' };
        return answer(response, 401, body, `refused ${request.method} ${request.url}`);
      }
      const body = { token_type: 'Bearer', expires_in: Number(life), ext_expires_in: Number(life) };
      answer(response, 200, { ...body, access_token: token().text }, 'federated');
    });
  })
  .listen(Number(port) + 1, '127.0.0.1');
