// A Modbus server made of npm's modbus-serial, to try our client against: the registers of libmodbus_server.c.
// usage: node node_server.js tcp PORT | tls PORT KEY CERTIFICATE CA | rtu DEVICE UNIT
// prints the port to ask (tls: PORT is that of the server behind it), or "ready".
"use strict";
const fs = require("fs");
const net = require("net");
const tls = require("tls");
const { ServerTCP, ServerSerial } = require("modbus-serial");

const SIZE = 300;
const float = Buffer.alloc(4);
float.writeFloatBE(68.7);
const swapped = { 100: float.readUInt16BE(2), 101: float.readUInt16BE(0) };

function within(address, value) {
    if (address >= SIZE) throw Object.assign(new Error("no such address"), { modbusErrorCode: 2 });
    return value;
}

const registers = {
    getHoldingRegister: (address) => within(address, swapped[address] ?? address),
    getInputRegister: (address) => within(address, 1000 + address),
    getCoil: (address) => within(address, (address & 1) === 1),
    getDiscreteInput: (address) => within(address, (address & 1) === 1),
};

const [kind, ...words] = process.argv.slice(2);
if (kind === "rtu") {
    const server = new ServerSerial(registers, { path: words[0], baudRate: 19200, parity: "none", unitID: Number(words[1]) });
    server.on("initialized", () => console.log("ready"));
} else {
    const inner = Number(words.shift());
    const server = new ServerTCP(registers, { host: "127.0.0.1", port: inner, unitID: 255 });
    server.on("initialized", () => {
        if (kind === "tcp") return console.log(inner);
        const [key, cert, ca] = words.map((path) => fs.readFileSync(path));
        const outer = tls.createServer({ key, cert, ca, requestCert: true, rejectUnauthorized: true }, (secure) => {
            const plain = net.connect(inner, "127.0.0.1");
            secure.pipe(plain).pipe(secure);
            for (const [one, other] of [[secure, plain], [plain, secure]]) one.on("error", () => other.destroy());
        });
        outer.listen(0, "127.0.0.1", () => console.log(outer.address().port));
    });
}
