/* The container tests' application: one static program, in an image made from scratch.
 *
 *   app          serves HTTP on $PORT (8080): / answers $APP_VERSION, /health 200 or, with UNHEALTHY=1, 503
 *   app health   exits 0 where /health answers 200: the image's health check
 *
 * DIE=1 exits 3 at once; DIE_AFTER_S exits 3 later; BURN=1 keeps a core busy; EAT_MB holds memory; READ_MB reads a file of
 * that size once, whose pages stay in the kernel's cache; SLOW_START_S listens later. At SIGTERM it finishes what it accepted, and exits 0.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static volatile sig_atomic_t ending;
static void end(int number) { (void)number; ending = 1; }
static void die(int number) { (void)number; _exit(3); }

static int setting(const char *name, int otherwise) {
    const char *value = getenv(name);
    return value && *value ? atoi(value) : otherwise;
}

static struct sockaddr_in address(const char *host) {
    struct sockaddr_in found = {.sin_family = AF_INET, .sin_port = htons(setting("PORT", 8080))};
    inet_pton(AF_INET, host, &found.sin_addr);
    return found;
}

static int ask_health(void) {
    char answer[64] = {0};
    struct sockaddr_in where = address("127.0.0.1");
    int s = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(s, (void *)&where, sizeof where)) return 1;
    dprintf(s, "GET /health HTTP/1.0\r\n\r\n");
    if (read(s, answer, sizeof answer - 1) < 12) return 1;
    return strncmp(answer + 9, "200", 3) != 0;
}

/* Written pages are dropped first: those that are touched once again would count as active. */
static void read_file(size_t bytes) {
    char block[1 << 16] = {1};
    int file = open("/read", O_RDWR | O_CREAT, 0600);
    for (size_t done = 0; done < bytes; done += sizeof block)
        if (write(file, block, sizeof block) < 0) perror("cannot write");
    fsync(file);
    posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
    lseek(file, 0, SEEK_SET);
    while (read(file, block, sizeof block) > 0) { }
    close(file);
}

static void answer(int connection) {
    char request[1024] = {0}, body[256];
    struct pollfd waiting = {connection, POLLIN, 0};
    if (poll(&waiting, 1, 2000) == 1 && read(connection, request, sizeof request - 1) > 0) {
        int well = strncmp(request, "GET /health", 11) || !setting("UNHEALTHY", 0);
        snprintf(body, sizeof body, "%s\n", getenv("APP_VERSION") ? getenv("APP_VERSION") : "none");
        dprintf(connection, "HTTP/1.0 %s\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n%s",
                well ? "200 OK" : "503 Unhealthy", strlen(body), body);
        shutdown(connection, SHUT_WR);
        poll(&waiting, 1, 200);
    }
    close(connection);
}

int main(int count, char **words) {
    if (count > 1 && !strcmp(words[1], "health")) return ask_health();
    setvbuf(stdout, NULL, _IOLBF, 0);
    struct sigaction action = {.sa_handler = end};
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
    printf("app %s starts\n", getenv("APP_VERSION") ? getenv("APP_VERSION") : "none");
    if (setting("DIE", 0)) { printf("told to die\n"); return 3; }
    size_t eaten = (size_t)setting("EAT_MB", 0) << 20;
    char *memory = eaten ? malloc(eaten) : NULL;
    if (memory) memset(memory, 1, eaten);
    if (setting("READ_MB", 0)) read_file((size_t)setting("READ_MB", 0) << 20);
    sleep(setting("SLOW_START_S", 0));
    if (setting("BURN", 0) && fork() == 0) for (;;) { }
    int listener = socket(AF_INET, SOCK_STREAM, 0), yes = 1, die_after_s = setting("DIE_AFTER_S", 0);
    struct sockaddr_in where = address("0.0.0.0");
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(listener, (void *)&where, sizeof where) || listen(listener, 128)) { perror("cannot listen"); return 4; }
    if (die_after_s) { signal(SIGALRM, die); alarm(die_after_s); }
    while (!ending) {
        struct pollfd waiting = {listener, POLLIN, 0};
        if (poll(&waiting, 1, 1000) == 1) {
            int connection = accept(listener, NULL, NULL);
            if (connection >= 0) answer(connection);
        }
    }
    /* What is in the backlog was accepted by the kernel: answer it, and close the door at once. Whoever came between would
     * be reset; whoever comes afterwards is refused, and tries his next address. */
    struct pollfd waiting = {listener, POLLIN, 0};
    while (poll(&waiting, 1, 0) == 1) answer(accept(listener, NULL, NULL));
    close(listener);
    printf("app ends\n");
    return 0;
}
