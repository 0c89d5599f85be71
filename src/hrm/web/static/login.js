// A link that logs in carries its token behind '#': browsers send that to no server, and write it to no server's log.
const field = document.querySelector("input[name=token]");
const match = /^#token=([\w.-]+)$/.exec(location.hash);
if (field && match) {
  history.replaceState(null, "", location.pathname + location.search);
  field.value = match[1];
  field.form.requestSubmit();
}
