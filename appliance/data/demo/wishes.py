"""What people ask for in the tickets of the demo task, queue by queue.

One infinitive a line ("I would like to ..."). `{one|many}` and `--` as in `faults.py`.
"""

from __future__ import annotations

WISHES = {
    "access": """
change {my password|our passwords} before it expires
get read access to the archive folder
add a second security key to {my|our} login
give a new colleague permission for the shared drive
set up two-factor sign-in on a new phone
see who has access rights to the team folder
rename a user account after a wedding
extend the guest account of a visitor
use single sign-on for the wiki
choose a longer password
request admin rights for a test portal
remove a former colleague from the access group
log in with a fingerprint
share a mailbox with another user
--
move the authenticator to another phone
get permission to view the contract folder
reset a password from home
log in with a security key
""",
    "billing": """
get the invoices as PDF by mail
change the billing address
pay by bank transfer instead of credit card
move the subscription to yearly payment
see the bills of last year
add a purchase order number to the invoice
receive one combined invoice for each department
find out what the next plan costs
get a quote for ten more licences
learn how the VAT is worked out on the bill
change the contact who receives invoices
set a budget alert for the subscription
get a copy of the {month} receipt
claim the discount for non-profits
--
pay the invoice in two instalments
update the credit card for the subscription
have one charge on the {month} bill explained
get a refund for licences not used
""",
    "hardware": """
get a second monitor
order a quieter keyboard
swap the headset for a wireless one
borrow a projector in {month}
recycle old laptops
get a laptop stand and a mouse
connect two screens to the docking station
clean the printer rollers
order toner in advance
replace a laptop battery that is getting weak
choose between a tablet and a laptop
print on both sides of the paper
get a longer charger cable
add memory to the computer
--
order a bigger screen
get a new webcam and a headset
return an old printer
replace the worn keyboard
""",
    "network": """
connect a phone to the guest Wi-Fi
use the VPN from abroad
get a network socket for a new desk
rename the Wi-Fi in the meeting room
find out how fast the internet line is
reserve a fixed IP address for a camera
open a firewall port for a test server
improve the wireless signal in the kitchen
use the VPN on a tablet
see the bandwidth per floor
put the visitors on a separate network
change the DNS entry of a test site
add an access point near the stairs
learn what the proxy filters
--
set up the VPN on a home router
get Wi-Fi in the garden
order a faster internet line
allow a website through the firewall
""",
    "software": """
install a newer version of the browser
change the language of the CRM app
export a spreadsheet to PDF
get a licence key for the drawing program
add a calendar plug-in to Outlook
turn off the pop-ups of the chat program
use dark mode in the ERP client
learn shortcuts for Excel
test the beta version of the planning tool
create a template in Word
automate a report with a script
update the PDF editor
move bookmarks to another browser
change the start page of the time sheet app
--
install a plug-in for the spreadsheet program
try the new version of the CRM app
switch the language of the mail program
make a macro for the weekly report
""",
    "shipping": """
change the delivery address of a later order
get the tracking number by text
choose another courier for small parcels
return a parcel without a label
book a pick-up for {month}
find out the price of express delivery to {site}
send a pallet abroad
combine two shipments into one delivery
find out what customs papers a package needs
have parcels left at the reception
order smaller boxes for shipping
get a delivery note with each parcel
pick an evening delivery window
send samples by post
--
follow a shipment on the tracking page
send a parcel to {site} by express courier
change the date of a delivery
print a return label for a package
""",
}
