/* Forks argv[1] sleepers, prints "ready", and sleeps until it is killed; they die with it.
   Started as `spawner sleep ...` it only sleeps; as `spawner listen` it listens and prints its port. */
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

static void sleep_for_ever(void) {
    for (;;)
        pause();
}

static void listen_somewhere(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(fd, (struct sockaddr *)&address, length) || listen(fd, 1) ||
        getsockname(fd, (struct sockaddr *)&address, &length))
        exit(1);
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
}

int main(int argc, char **argv) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (argc < 2)
        return 2;
    if (strcmp(argv[1], "listen") == 0)
        listen_somewhere();
    for (int i = 0, n = atoi(argv[1]); i < n; i++) {
        pid_t parent = getpid(), child = fork();
        if (child < 0)
            return 1;
        if (child == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            if (getppid() != parent)
                return 0;
            sleep_for_ever();
        }
    }
    if (atoi(argv[1]) > 0) {
        puts("ready");
        fflush(stdout);
    }
    sleep_for_ever();
}
