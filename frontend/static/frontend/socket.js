// A socket that comes back: jittered back-off that grows to a ceiling and starts again after health.

const FIRST_MS = 500;
const CEILING_MS = 8000;
const LOGGED_OUT = 4401; // the session is over: trying again would only be refused
const SILENT_MS = 7000; // the server says something each 2 s; a socket that is silent longer is dead and does not know it

export class Socket {
  constructor(path, { onText, onBinary, onUp, onDown }) {
    Object.assign(this, { path, onText, onBinary, onUp, onDown, wait_ms: FIRST_MS, up: false });
    this.open();
    setInterval(() => this.look(), 1000);
  }

  open() {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    this.heard_at = Date.now();
    const socket = new WebSocket(`${scheme}://${location.host}${this.path}`);
    this.socket = socket;
    socket.binaryType = "arraybuffer";
    socket.onopen = () => { this.heard_at = Date.now(); this.up = true; this.onUp?.(); };
    socket.onmessage = (event) => {
      this.heard_at = Date.now();
      this.wait_ms = FIRST_MS;
      if (typeof event.data === "string") this.onText?.(JSON.parse(event.data));
      else this.onBinary?.(event.data);
    };
    socket.onclose = (event) => {
      if (event.code === LOGGED_OUT) location.assign(`/login/?next=${encodeURIComponent(location.pathname)}`);
      else if (this.socket === socket) this.again();
    };
  }

  again() {
    this.socket = null;
    this.up = false;
    this.onDown?.();
    setTimeout(() => this.open(), this.wait_ms * (0.5 + Math.random()));
    this.wait_ms = Math.min(this.wait_ms * 2, CEILING_MS);
  }

  look() {
    const socket = this.socket;
    if (!socket || Date.now() - this.heard_at < SILENT_MS) return;
    socket.onclose = null;
    socket.close();
    this.again();
  }

  send(message) {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }
}
