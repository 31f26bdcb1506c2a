/* Lagrangian relaxation: a price for a byte is searched at which the cheapest options just fit the budget. */
#include "allocation.h"

/* Of the present choices. */
static double allocation_bytes(const struct allocation_plane *planes, int n)
{
    double bytes = 0;
    for (int i = 0; i < n; i++) {
        bytes += planes[i].bytes[planes[i].choice];
    }
    return bytes;
}

/* The best options when a byte costs `price`. */
static void choose_at_price(struct allocation_plane *planes, int n, double price)
{
    for (int i = 0; i < n; i++) {
        struct allocation_plane *plane = &planes[i];
        plane->choice = 0;
        for (int j = 1; j < plane->n; j++) {
            double better = plane->error[plane->choice] - plane->error[j];
            plane->choice =
                better > price * (plane->bytes[j] - plane->bytes[plane->choice]) ? j : plane->choice;
        }
    }
}

/* Takes the step up that saves the most error a byte, while one fits. */
static void fill_budget(struct allocation_plane *planes, int n, double budget)
{
    for (double left = budget - allocation_bytes(planes, n);;) {
        int best = -1, to = 0;
        double most = 0, cost = 0;
        for (int i = 0; i < n; i++) {
            const struct allocation_plane *plane = &planes[i];
            for (int j = plane->choice + 1; j < plane->n; j++) {
                double bytes = plane->bytes[j] - plane->bytes[plane->choice];
                double saved = plane->error[plane->choice] - plane->error[j];
                if (bytes <= left && saved > 0 && (bytes <= 0 || saved / bytes > most)) {
                    most = bytes <= 0 ? most : saved / bytes;
                    best = i;
                    to = j;
                    cost = bytes;
                }
            }
        }
        if (best < 0) {
            return;
        }
        planes[best].choice = to;
        left -= cost;
    }
}

bool allocation_solve(struct allocation_plane *planes, int n, double budget)
{
    enum { HALVINGS = 200 };
    double high = 1;
    for (int i = 0; i < n; i++) {
        planes[i].choice = 0;
    }
    if (allocation_bytes(planes, n) > budget) {
        return false;
    }
    /* At this price of a byte everything that costs any stays small. */
    for (choose_at_price(planes, n, high); allocation_bytes(planes, n) > budget;
         choose_at_price(planes, n, high)) {
        high *= 1024;
    }
    double low = 0;
    for (int i = 0; i < HALVINGS; i++) {
        double middle = (low + high) / 2;
        choose_at_price(planes, n, middle);
        *(allocation_bytes(planes, n) > budget ? &low : &high) = middle;
    }
    choose_at_price(planes, n, high);
    fill_budget(planes, n, budget);
    return true;
}
