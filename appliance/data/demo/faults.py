"""What is broken in the tickets of the demo task, queue by queue.

One clause a line, so that each fits every sentence pattern. `{one|many}` is the wording for one
person and for many. No line says how bad the matter is: only the impact does, or who is blocked
could be learned from the problem. Lines after `--` appear in the test file alone.
"""

from __future__ import annotations

FAULTS = {
    "access": """
the login page rejects {my password|our passwords}
{my account is|our accounts are} locked after three attempts
the two-factor code never arrives
the authenticator code is not accepted
single sign-on sends {me|us} back to the sign-in screen
the password reset link has expired
permission to open the finance folder is gone
the directory says {my user name does|our user names do} not exist
{my|our} admin rights on the reporting portal have vanished
{my session is|our sessions are} logged out after one minute
the shared mailbox says access denied
{my role was|our roles were} removed from the HR portal
the security key is not recognised at sign-in
the login asks for a PIN {I|we} never received
{my guest account has|our guest accounts have} been disabled
the one-time passcode comes by text an hour late
the group membership for the sales drive was deleted
the sign-in page says {my credentials are|our credentials are} invalid
the temporary password does not let {me|us} log in
{my profile was|our profiles were} switched to read-only rights
the identity portal refuses {my|our} user ID
the password expired and cannot be renewed
{my|our} authorisation for the contract archive was revoked
the account activation mail leads to an empty login form
the verification prompt never reaches {my phone|our phones}
the login captcha fails every time
--
the sign-in to the customer portal is refused with a wrong password message
{my user account|our user accounts} cannot log in after the rename
{my access rights|our access rights} to the legal folder were withdrawn
the new passcode for the authenticator is rejected
{my login is|our logins are} blocked by the security policy
the permission request was approved, yet the folder still says access denied
the credentials for the wiki stopped being valid
""",
    "billing": """
the invoice for {month} shows the wrong amount
{my credit card was|our credit cards were} charged twice
the refund for order {num} was never paid
the payment for invoice {num} was declined
the VAT number is missing on the invoice
the subscription was billed for the wrong plan
the discount was not deducted from the bill
a reminder claims that invoice {num} is unpaid
the billing portal shows a balance {I|we} do not owe
the direct debit was taken from the wrong bank account
the receipt for the {month} payment cannot be downloaded
the credit note for invoice {num} has not been issued
the invoice is in dollars instead of euros
the annual fee was charged a second time
the purchase order number is missing on bill {num}
{my|our} licence was suspended for an unpaid invoice that is paid
the tax rate on the invoice is wrong
the bank transfer is not matched to invoice {num}
the payment page ends with a declined card
the price on the bill differs from the quote
a cancellation fee was billed by mistake
the payment terms on invoice {num} say seven days instead of thirty
the invoice went to the old billing address
the budget for the subscription is shown as overdrawn
the charge of {num} euros is not explained
the instalment plan was billed in one amount
--
the {month} statement lists a charge that is not ours
the invoice total is higher than the agreed price
the refund of {num} euros is still missing
the bill for {month} was paid but a dunning letter came
the payment by card fails with a billing error
the renewal fee was debited two times
the tax invoice names the wrong company
""",
    "hardware": """
the {laptop does|laptops do} not turn on
the {monitor stays|monitors stay} black
the printer on floor {floor} jams on every page
the keyboard types double letters
the docking station gives no power
the battery is empty after ten minutes
the hard disk makes clicking noises
the {headset has|headsets have} no sound
the scanner shows a broken lamp
the {mouse does|mice do} not react
the fan is roaring and the computer switches itself off
the charger is broken and its cable is torn
the {screen flickers|screens flicker} in green stripes
the webcam shows only a black picture
the toner is empty and the printer refuses to print
the USB port is bent and takes no plug
the {tablet has|tablets have} a cracked display
the touchpad does not click any more
the power supply of the server hums loudly
the card reader swallows the cards
the barcode gun has a dead battery
the label printer prints blank paper
the desk {phone has|phones have} a broken handset
the memory module is loose and the PC beeps
the projector lamp has burnt out
the {workstation is|workstations are} dead after the power cut
--
the {notebook overheats|notebooks overheat} and shut{s|} down
the paper tray of the printer is broken
the microphone of the {headset is|headsets is} dead
the second screen shows no picture
the power button of the computer is stuck
the laptop battery runs flat within minutes
the keyboard has lost three keys
""",
    "network": """
the Wi-Fi drops every few minutes
the VPN does not connect
the internet line in {place} is dead
the network socket gives no link
the proxy blocks each website
the DNS server does not resolve any name
the router on floor {floor} reboots all the time
the connection to the server room times out
the wireless signal is lost near the stairs
the switch on floor {floor} blinks orange
the VPN tunnel closes after thirty seconds
the firewall blocks the port {I|we} need
the bandwidth is down to one megabit
packets are lost on the line to {site}
the network drive is unreachable over the VPN
{my computer gets|our computers get} no IP address
the access point in the meeting room is offline
the ethernet cable link goes up and down
video calls break up because of high latency
the guest Wi-Fi shows no internet
the fibre line between {site} and the data centre is cut
the DHCP lease is not renewed
the remote gateway does not answer a ping
the mobile hotspot is not reachable from the VPN
the Wi-Fi certificate is out of date and the connection is refused
the LAN in the east wing is offline
--
the wireless network vanishes from the list
the VPN client reports that the gateway is unreachable
the internet is slow and the line drops
no IP address is handed out on floor {floor}
the router has lost its connection to the provider
the firewall cuts the connection after a minute
pings to the server time out
""",
    "software": """
the CRM app crashes on start
Excel closes when a macro runs
the update to version {floor} failed halfway
the browser freezes on each tab
Outlook hangs while loading the profile
the ERP client shows error code {num}
the PDF editor does not save files
the plug-in for the calendar is gone after the update
the planning tool shows an empty window
Teams does not start after the upgrade
the database report ends with a syntax error
the installer stops at ninety percent
the spreadsheet formula returns nonsense
the licence key of the drawing program is invalid
the time sheet app loses entries
the antivirus program deletes a file of the ERP client
the operating system hangs on a blue error screen
the export function of the CRM writes empty files
the mail program does not open attachments
the search in the wiki software returns nothing
the driver package does not install
the app says its version is too old
Word crashes when a template is opened
the script for the nightly report raises an exception
the chat program does not load messages
the form in the HR application does not save
--
the accounting program freezes when a report is opened
the desktop app shows error {num} after the update
the spreadsheet program crashes while saving
the browser plug-in stopped loading
the installation of the new version aborts
the CRM window stays empty
PowerPoint hangs when a file is opened
""",
    "shipping": """
the parcel from {month} has not arrived
the courier delivered package {num} to the wrong address
the tracking number shows no movement
the delivery of the new chairs is late
the shipment is held at customs
the box arrived crushed and wet
two items are missing from delivery {num}
the courier did not pick up the parcels
the shipping label shows the wrong street
the pallet for {site} was sent to another warehouse
the return parcel was refused by the carrier
the express shipment is stuck at the depot
the package was left in the rain
the delivery note does not match the goods
order {num} is marked as delivered but is not here
the carrier lost parcel {num}
the freight to {site} is delayed
the pick-up of the returns was cancelled
the wrong goods were in the package
the tracking page says the parcel went back to the sender
the customs papers for shipment {num} are missing
the truck with the spare parts did not come
the delivery window was missed by the driver
the carton came open and half empty
the dispatch of order {num} has been put off
the postal code on the consignment is wrong
--
the courier lost the package on the way to {site}
delivery {num} came to the old address
the parcels are waiting at the depot for customs
the tracking of the shipment stopped on Friday
the goods in the carton are damaged
the carrier did not deliver the pallet
the return label for the parcel is missing
""",
}
