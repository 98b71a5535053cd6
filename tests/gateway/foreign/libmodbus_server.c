/* A Modbus server made of libmodbus alone, to try our client against. Every holding register holds its address, every input
 * register 1000 more, every bit the lowest bit of its address; holding 100 and 101 hold 68.7 as a float, low word first.
 * usage: libmodbus_server tcp | rtu DEVICE UNIT      prints the port, or "ready"; serves until it is ended. */
#include <errno.h>
#include <modbus/modbus.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { SIZE = 300 };

static modbus_mapping_t *image(void)
{
    modbus_mapping_t *map = modbus_mapping_new(SIZE, SIZE, SIZE, SIZE);
    for (int i = 0; i < SIZE; i++) {
        map->tab_bits[i] = map->tab_input_bits[i] = i & 1;
        map->tab_registers[i] = i;
        map->tab_input_registers[i] = 1000 + i;
    }
    float value = 68.7f;
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    map->tab_registers[100] = bits & 0xFFFF;
    map->tab_registers[101] = bits >> 16;
    return map;
}

static void serve(modbus_t *context, modbus_mapping_t *map)
{
    uint8_t query[MODBUS_TCP_MAX_ADU_LENGTH];
    for (;;) {
        int length = modbus_receive(context, query);
        if (length > 0)
            modbus_reply(context, query, length, map);
        else if (length < 0 && errno != EMBBADCRC && errno != ETIMEDOUT)
            return;
    }
}

int main(int count, char **words)
{
    if (count == 2 && strcmp(words[1], "tcp") == 0) {
        modbus_t *context = modbus_new_tcp("127.0.0.1", 0);
        int listener = modbus_tcp_listen(context, 8);
        struct sockaddr_in place;
        socklen_t size = sizeof place;
        if (listener < 0 || getsockname(listener, (struct sockaddr *)&place, &size))
            return perror("listen"), 1;
        signal(SIGCHLD, SIG_IGN);
        printf("%d\n", ntohs(place.sin_port));
        fflush(stdout);
        while (modbus_tcp_accept(context, &listener) >= 0) {
            if (fork() == 0) {
                serve(context, image());
                return 0;
            }
            close(modbus_get_socket(context)); /* modbus_close would end it for the child, too */
        }
    } else if (count == 4 && strcmp(words[1], "rtu") == 0) {
        modbus_t *context = modbus_new_rtu(words[2], 19200, 'N', 8, 1);
        if (context == NULL || modbus_set_slave(context, atoi(words[3])) || modbus_connect(context))
            return fprintf(stderr, "%s: %s\n", words[2], modbus_strerror(errno)), 1;
        puts("ready");
        fflush(stdout);
        serve(context, image());
    }
    return 2;
}
