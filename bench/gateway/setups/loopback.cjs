// Portkey's gateway has no option for the address that it listens on.
const { Server } = require("node:net");

const listen = Server.prototype.listen;
Server.prototype.listen = function (port, ...others) {
  const heard = others.filter((each) => typeof each === "function");
  return listen.call(this, { port, host: "127.0.0.1" }, ...heard);
};
