// Run one scenario; print {"found": ...}, {"error": ..., "status": ...}, or {"absent": true} if the client has none.
exports.run = (scenarios, name) => {
  if (!scenarios[name]) {
    console.log(JSON.stringify({ absent: true }));
    return;
  }
  scenarios[name]()
    .then((found) => console.log(JSON.stringify({ found })))
    .catch((error) => console.log(JSON.stringify({ error: String(error.message), status: error.status })));
};
